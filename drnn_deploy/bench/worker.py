"""The child process of one contender, so that its memory, its imports and its threads are its own.

open     loads it, runs its inputs once, writes its outputs  -> seconds and bytes
burst    calls it for a while                                -> how many calls
finish   -> the `Timing` of all bursts
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from drnn_core.errors import DeployError
from drnn_core.worker_process import answer
from drnn_deploy.bench.contender import Array, Call, Contender
from drnn_deploy.bench.registry import CONTENDERS, GAUGES
from drnn_deploy.bench.statistics import summarise
from drnn_runtimes.bundle import WEIGHTS, Bundle, GraphInfo

RELOADED_SECONDS = 10.0  # to get ready: what takes longer is not loaded a second time
_SHORT = 10e-3  # seconds of a call that waking up and cold caches change: the first of a burst does not count
_REASON = 300  # characters


@dataclasses.dataclass(frozen=True)
class Job:
    """What a child measures.

    Attributes:
        contender: Its name.
        bundle: The bundle's folder.
        graph: The file of one of its graphs.
        batch: Sequences of a run.
        threads: Threads of a run.
        folder: An empty folder for what the contender needs to run.
        inputs: A file with what it is checked on, (B, T, ...), of a stream several pieces.
        outputs: Where its outputs go.
    """

    contender: str
    bundle: str
    graph: str
    batch: int
    threads: int
    folder: str
    inputs: str
    outputs: str


class Measuring:
    """A loaded contender."""

    def __init__(self, job: Job, contender: Contender) -> None:
        self._job, self._contender = job, contender
        self._bundle = Bundle.open(Path(job.bundle), verify=False)
        self._graph = self._bundle.graph(job.graph)
        self._inputs: Array = np.load(job.inputs)
        self._stack = contextlib.ExitStack()
        self._bursts: list[list[float]] = []

    def open(self) -> dict[str, Any]:
        """Load, run, and load again; the last one stays."""
        before, started = peak_memory(), time.perf_counter()
        call = self._load()
        first, *others = pieces(self._inputs, self._graph)
        outputs = [np.array(call(first))]
        ready = time.perf_counter() - started
        memory, files = peak_memory(), self._file_bytes()
        outputs += [np.array(call(piece)) for piece in others]
        np.save(self._job.outputs, np.concatenate(outputs, axis=1) if others else outputs[0])
        started = time.perf_counter()
        if ready < RELOADED_SECONDS:
            self._stack.close()
            started = time.perf_counter()
            call = self._load()
        load = time.perf_counter() - started if ready < RELOADED_SECONDS else None
        self._call, self._piece = call, first
        call(first)
        started = time.perf_counter()
        call(first)
        self._seconds = time.perf_counter() - started
        return {
            "ready_seconds": ready,
            "load_seconds": load,
            "file_bytes": files,
            "memory_bytes": memory,
            "own_bytes": None if memory is None or before is None else memory - before,
            "call_seconds": self._seconds,
        }

    def burst(self, seconds: float) -> dict[str, Any]:
        """Call it for so many seconds, and at least once."""
        call, piece, clock = self._call, self._piece, time.perf_counter_ns
        if self._seconds < _SHORT:
            call(piece)
        times: list[float] = []
        end = clock() + seconds * 1e9
        while not times or clock() < end:
            before = clock()
            call(piece)
            times.append((clock() - before) / 1e3)
        self._bursts.append(times)
        return {"calls": len(times)}

    def finish(self) -> dict[str, Any]:
        """Summarise all bursts and close."""
        self._stack.close()
        return dataclasses.asdict(summarise(self._bursts))

    def _load(self) -> Call:
        job = self._job
        return self._stack.enter_context(
            self._contender.load(
                self._bundle, self._graph, batch=job.batch, threads=job.threads, folder=Path(job.folder)
            )
        )

    def _file_bytes(self) -> int:
        own = self._graph.file if self._contender.reads_graph else WEIGHTS
        made = sum(file.stat().st_size for file in Path(self._job.folder).rglob("*") if file.is_file())
        return self._bundle.path(own).stat().st_size + made


def pieces(inputs: Array, graph: GraphInfo) -> list[Array]:
    """Cut a batch into whole runs of a graph; what is left over is dropped.

    Args:
        inputs: (B, T, ...).
        graph: Its steps count.
    """
    starts = range(0, inputs.shape[1] - graph.steps + 1, graph.steps)
    return [np.ascontiguousarray(inputs[:, start : start + graph.steps]) for start in starts]


def peak_memory() -> int | None:
    """The most bytes of memory that this process has used, or None where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


_open: dict[str, Measuring] = {}  # by "": the one of this process


def reply(request: Mapping[str, Any]) -> dict[str, Any]:
    """See above; what a contender raises is its reason."""
    try:
        if request["do"] == "open":
            job = Job(**request["job"])
            _open[""] = Measuring(job, (CONTENDERS | GAUGES)[job.contender])
            return _open[""].open()
        return _open[""].burst(request["seconds"]) if request["do"] == "burst" else _open[""].finish()
    except DeployError as error:
        return {"refused": _reason(error.message, request)}
    except Exception as error:  # whatever torch, its compiler or a runtime raise
        return {"refused": _reason(f"{type(error).__name__}: {error}", request)}


def _reason(message: str, request: Mapping[str, Any]) -> str:
    """The first line, without folders of this machine: reports travel."""
    for name in ("bundle", "folder"):
        message = message.replace(f"{request.get('job', {}).get(name)}{os.sep}", "")
    return message.strip().partition("\n")[0][:_REASON]


if __name__ == "__main__":
    answer(reply)
