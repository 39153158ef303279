"""Several trainings at once on one machine, each in a process of its own.

Processes share a CPU's cores and a GPU: one small network leaves most of either idle. A validation of one training
holds up no other, and a training that fails ends no other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from drnn_deploy.training.jobs import Job, Outcome, Process

Tell = Callable[[Job, dict[str, Any]], None]
_POLL_SECONDS = 0.5


def threads_each(parallel: int, threads: int | None = None) -> int:
    """The CPU threads of one of several trainings.

    Args:
        parallel: How many run at once.
        threads: Of all together. None: the cores that this process may use.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, (threads or cores) // parallel)


def train_side_by_side(
    jobs: Sequence[Job], parallel: int, tell: Tell, *, over: Callable[[], bool] = lambda: False
) -> Generator[tuple[Job, Outcome], None, None]:
    """Do jobs in their order, some at once. What stops the caller stops all of them, with their states saved.

    Args:
        jobs: What to train.
        parallel: How many at once.
        tell: Gets a job and a line of its log, from the thread that waits for it.
        over: Whether no time is left: then those that run are stopped, and no other is begun.

    Yields:
        Each job that was begun, and its outcome, as they end.
    """
    processes = [Process() for _ in jobs]
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        for process in processes:
            process.stop()

    def do(job: Job, process: Process) -> Outcome | None:
        return None if stopped or over() else process.do(job, lambda line: tell(job, line))

    with ThreadPoolExecutor(parallel) as pool:
        try:
            running: dict[Future[Outcome | None], Job] = {
                pool.submit(do, job, process): job for job, process in zip(jobs, processes, strict=True)
            }
            while running:
                done, _ = wait(running, _POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    job, outcome = running.pop(future), future.result()
                    if outcome:
                        yield job, outcome
                if not stopped and over():
                    stop()
        finally:  # Ctrl-C and SIGTERM come here; the pool waits until all have saved
            stop()
