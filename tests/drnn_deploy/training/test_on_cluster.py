"""Runs on a Dask cluster of this machine: the same numbers, also where a worker is killed in the middle of its run."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drnn_core.errors import InputError
from drnn_deploy.training.jobs import Job
from drnn_deploy.training.loop import train
from drnn_deploy.training.on_cluster import train_on_cluster
from drnn_deploy.training.outputs import STATE, finish, open_run
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.results import Result, result_of
from tests.drnn_deploy.conftest import Command

distributed = pytest.importorskip("distributed", reason="needs the extra dask")
pytestmark = pytest.mark.filterwarnings("default")  # of Dask's own

SMALL = (
    "data.delay=3", "training.batch=4", "training.iterations=1000", "training.evaluate_every=500",
    "model.hidden=[3]", "model.dilations=[2]",
)  # fmt: skip


@pytest.fixture
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path))
        with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
            yield cluster


def timeless(result: Result | None) -> Result:
    assert result is not None
    return dataclasses.replace(result, seconds=0, log=[{**line, "seconds": 0} for line in result.log])


def alone(job: Job, folder: Path) -> Result:
    run = open_run(job.recipe, folder)
    for _ in train(run, folder / STATE):
        pass
    return timeless(result_of(run, finish(run, folder)))


@pytest.mark.nightly
def test_a_worker_killed_in_the_middle_of_a_run_changes_no_number(tmp_path: Path, cluster: Any) -> None:
    job = Job("small", load_recipe("copy-memory", None, SMALL), tmp_path / "small")
    with distributed.Client(cluster, set_as_default=False) as client:
        pids = client.run(os.getpid)
        killed: list[int] = []
        lines: list[int] = []
        begun = threading.Event()

        def tell(_: Job, line: dict[str, Any]) -> None:
            lines.append(line["iteration"])
            begun.set()

        def kill() -> None:
            begun.wait(60)
            killed.extend(pids[worker] for worker, keys in client.processing().items() if keys)
            os.kill(killed[0], signal.SIGKILL)
            killed.append(lines[-1])

        killer = threading.Thread(target=kill)
        killer.start()
        ((ended, outcome),) = train_on_cluster([job], cluster.scheduler_address, tell)
        killer.join()
    assert (ended, outcome.failure, lines[-1]) == (job, "", 1000)
    assert killed[1] < 1000, "the run was through before its worker was killed"
    assert timeless(outcome.result) == alone(job, tmp_path / "alone")


@pytest.mark.nightly  # Dask takes half a minute to give up
def test_a_scheduler_that_ends_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    host, port = address.split(":")
    words = (sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", host, "--port", port, "--no-dashboard")
    job = Job("small", load_recipe("copy-memory", None, SMALL), tmp_path / "small")
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as scheduler:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                break
            time.sleep(0.2)
        killer = threading.Timer(5, scheduler.kill)
        killer.start()
        with pytest.raises(InputError, match=f"the scheduler at tcp://{address} is gone"):
            list(train_on_cluster([job], f"tcp://{address}", lambda job, line: None))
        killer.join()


def test_no_scheduler_is_said(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}):
        ran = command(
            "drnn-deploy", "experiment", "copy-memory-500/dilated-rnn", "--scheduler", "tcp://127.0.0.1:1",
            "--output", tmp_path,
        )  # fmt: skip
    assert ran.code == InputError.exit_code
    assert "there is no scheduler at tcp://127.0.0.1:1" in ran.err


@pytest.mark.parametrize(
    "address", ["host", "tcp://host", "host:x", "tcp://host:99999", "http://host:1", "tcp://:8786", ""]
)
def test_what_is_no_address_is_said_at_once(address: str) -> None:
    with pytest.raises(InputError, match="is no address of a scheduler"):
        next(train_on_cluster([], address, lambda job, line: None))
