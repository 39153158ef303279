"""Children of the tests of `benchmarks.gpu.run`: parts that end in every way a driver can end them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.gpu import worker
from benchmarks.gpu.plan import Row, Rows, Setting
from drnn_core.errors import EngineError, InputError, RuntimeUnavailableError
from drnn_core.worker_process import answer


def rows(end: str) -> Rows:
    for number in range(2):
        yield {"row": number, "file": "/somewhere/a.bin"} | ({"process": os.getpid()} if end == "tell" else {})
    if end == "abort":
        os.abort()
    time.sleep(60)
    return {"status": "ok"}


def meet(place: Path, name: str) -> None:
    """Wait for another part that runs at the same time; for none longer than any test."""
    (place / name).touch()
    deadline = time.monotonic() + 20
    while len(list(place.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)


def stand_in(setting: Setting, part: str) -> Row | Rows:
    end = part.rpartition("/")[2]
    if part == "runtimes":
        return {"status": "ok", "blocked": {"absent": {"status": "missing", "reason": "it is not installed"}}}
    if end.startswith("rows-then-"):
        return rows(end.removeprefix("rows-then-"))
    if end.startswith("process"):
        return {"status": "ok", "process": os.getpid()}
    if end.startswith("variable"):
        return {"status": "ok", "override": os.environ.get("NVIDIA_TF32_OVERRIDE")}
    if end.startswith("during"):
        before = time.time()
        if part.startswith("kind/"):
            meet(Path(os.environ["MEETING"]), end)
        return {"status": "ok", "during": [before, time.time()], "threads": os.environ.get("OMP_NUM_THREADS")}
    if end == "abort":
        os.abort()
    if end == "leave":
        os._exit(0)
    if end == "hang":
        time.sleep(60)
    if end == "refused":
        raise EngineError("no compute capability 9.0", "Use another GPU.")
    if end == "elsewhere":
        raise RuntimeUnavailableError("3 nodes did not land on the GPU")
    if end == "bad":
        raise InputError("cannot read /home/someone/secret/model.onnx")
    if end == "broken":
        raise ValueError("in /usr/lib/python3/some.py: see https://example.org/a/page")
    if end == "odd":
        return {"status": "splendid"}
    return {"status": "ok", "seen": [setting.device, setting.quick, setting.work.name], "file": "/a/b/c.bin"}


worker.run_part = stand_in

if __name__ == "__main__":
    answer(worker.reply)
