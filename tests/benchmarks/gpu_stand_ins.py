"""Children of the tests of `benchmarks.gpu_run`: parts that end in every way a driver can end them."""

from __future__ import annotations

import os
import time

from benchmarks import gpu_parts
from benchmarks.gpu_parts import Row
from benchmarks.gpu_plan import Setting
from drnn_models.child import answer
from drnn_models.errors import EngineError, InputError, RuntimeUnavailableError


def stand_in(setting: Setting, part: str) -> Row:
    end = part.rpartition("/")[2]
    if part == "runtimes":
        return {"status": "ok", "blocked": {"absent": {"status": "missing", "reason": "it is not installed"}}}
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


gpu_parts.run_part = stand_in

if __name__ == "__main__":
    answer(gpu_parts.reply)
