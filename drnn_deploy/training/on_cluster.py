"""Trainings on the workers of a Dask cluster, each in a process of its own beside its worker.

A training whose worker is lost goes on at another worker: from its state where both see the same folder, and otherwise
from the start; the numbers are the same either way. As many trainings run on a worker at once as it has threads.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Generator, Sequence
from typing import Any

from drnn_core.errors import InputError
from drnn_deploy.training.jobs import Job, Outcome, Process
from drnn_deploy.training.side_by_side import Tell

_POLL_SECONDS = 1.0
_SAVE_SECONDS = 60.0  # that the states may take at the end


def train_on_cluster(
    jobs: Sequence[Job], scheduler: str, tell: Tell, *, over: Callable[[], bool] = lambda: False
) -> Generator[tuple[Job, Outcome], None, None]:
    """Do jobs on a cluster, the first ones first. What stops the caller stops all of them, with their states saved.

    Args:
        jobs: What to train. Their folders are of the workers' machines.
        scheduler: The address of the cluster's scheduler, for example "tcp://10.0.0.1:8786".
        tell: Gets a job and a line of its log.
        over: Whether no time is left: then all are stopped.

    Yields:
        Each job and its outcome, as they end.

    Raises:
        InputError: It is no address, or there is no scheduler at it, or no more.
    """
    from distributed import CancelledError, Client, Event, wait

    _check_address(scheduler)
    topic, by_name = f"drnn-deploy-{uuid.uuid4().hex}", {job.name: job for job in jobs}
    try:
        client = Client(scheduler, set_as_default=False, name="drnn-deploy")
    except (OSError, ValueError) as error:
        raise InputError(
            f"there is no scheduler at {scheduler}: {error}",
            "Start one: dask scheduler, and on every machine: dask worker ADDRESS",
        ) from error
    with client, client.as_current():
        client.subscribe_topic(topic, lambda event: tell(by_name[event[1]["job"]], event[1]["line"]))
        stop = Event(topic, client=client)
        running = {
            client.submit(_do, job.to_json(), topic, key=f"{topic}-{job.name}", priority=-place): job
            for place, job in enumerate(jobs)
        }
        try:
            while running:
                with contextlib.suppress(TimeoutError):
                    wait(list(running), timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED")
                for future in [future for future in running if future.done()]:
                    job = running.pop(future)
                    yield job, _outcome(future)
                if over():
                    stop.set()
        except (OSError, CancelledError) as error:
            what = f"the scheduler at {scheduler} is gone, or has given the runs up"
            raise InputError(what, "Start it and its workers again, and type the same command.") from error
        finally:
            with contextlib.suppress(OSError):  # as TimeoutError is; the scheduler may be gone
                stop.set()
                wait(list(running), timeout=_SAVE_SECONDS)  # their states are being saved


def _check_address(scheduler: str) -> None:
    """A client of what is no address takes a minute to end, with a trace."""
    from distributed import comm

    try:
        host, port = comm.get_address_host_port(scheduler)
    except ValueError:
        host, port = "", 0
    if not host or not 0 < port < 1 << 16:
        raise InputError(f"{scheduler!r:.100} is no address of a scheduler", "It is like tcp://10.0.0.1:8786.")


def _outcome(future: Any) -> Outcome:
    error = future.exception()
    if error is not None:  # of a worker that lacks a package, or of a training that several workers died of
        return Outcome(failure=f"{type(error).__name__}: {error}")
    return Outcome.from_json(future.result())


def _do(data: dict[str, Any], topic: str) -> dict[str, Any]:
    """The worker's side: a process does the job, until it has or the caller says stop."""
    from distributed import Event, get_worker

    worker, stop, process, ended = get_worker(), Event(topic), Process(), threading.Event()

    def watch() -> None:
        while not ended.wait(_POLL_SECONDS):
            try:
                stopped = stop.is_set()
            except Exception:  # of several kinds: without a scheduler nobody waits for the result
                stopped = True
            if stopped:
                process.stop()

    job = Job.from_json(data)
    if stop.is_set():
        process.stop()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        outcome = process.do(job, lambda line: worker.log_event(topic, {"job": job.name, "line": line}))
    finally:
        ended.set()
        watcher.join()
    return outcome.to_json()
