"""Several trainings on one GPU, on a stand-in for MPS's daemon: begun, tried and ended, whatever goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from drnn_deploy.training import shared_gpu as module
from drnn_deploy.training.shared_gpu import CONTROL, shared_gpu
from tests.drnn_deploy.conftest import Command
from tests.gpu import need
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="NVIDIA has no MPS for Windows")

# As NVIDIA's: a daemon is told of by its pipe, and commands come in on standard input.
DAEMON = """#!/bin/sh
pipe="${CUDA_MPS_PIPE_DIRECTORY:-$MPS_HOME}/control"
echo "$* on ${CUDA_VISIBLE_DEVICES:-all}" >> "$MPS_HOME/log"
if [ "$1" = -d ]; then
    if [ -e "$MPS_HOME/broken" ]; then echo starting; echo "no device"; exit 1; fi
    (trap "" HUP; sleep 60) & echo $! > "$pipe"
    exit 0
fi
if [ ! -e "$pipe" ]; then echo "Cannot find MPS control daemon process"; exit 1; fi
read said
echo "$said" >> "$MPS_HOME/log"
case "$said" in quit*) kill "$(cat "$pipe")"; rm "$pipe";; esac
"""
WORKS = (
    sys.executable,
    "-c",
    "import os, sys; sys.exit(not os.path.exists(os.environ['CUDA_MPS_PIPE_DIRECTORY'] + '/control'))",
)
OPEN = """
import sys, time
from drnn_deploy.training import shared_gpu
shared_gpu._TRIAL = tuple(sys.argv[1:])
with shared_gpu.shared_gpu() as how:
    print(how, flush=True)
    time.sleep(60)
"""
PLACES = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
DEVICES = "CUDA_VISIBLE_DEVICES"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a daemon for everybody, and of what the stand-in was told."""
    program = tmp_path / "bin" / CONTROL
    program.parent.mkdir()
    program.write_text(DAEMON, encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / "temporary").mkdir()
    for name, value in (
        ("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}"),
        ("MPS_HOME", str(tmp_path)),
        ("TMPDIR", str(tmp_path / "temporary")),
    ):
        monkeypatch.setenv(name, value)
    for name in PLACES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(module, "_TRIAL", WORKS)
    return tmp_path


def left(home: Path) -> list[str]:
    """Of daemons, and in the environment."""
    return [*map(str, (home / "temporary").iterdir()), *(name for name in PLACES if name in os.environ)]


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_daemon_is_begun_tried_and_ended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICES, "1")
    with shared_gpu() as how:
        assert how.startswith("side by side, through an MPS daemon that ends")
        assert "-d on 1" in (home / "log").read_text(encoding="utf-8").splitlines()
        assert DEVICES not in os.environ  # for a client that one device is the first
        daemon = int(Path(os.environ[PLACES[0]], "control").read_text(encoding="utf-8"))
        assert alive(daemon)
    assert left(home) == []
    assert os.environ[DEVICES] == "1"
    assert (home / "log").read_text(encoding="utf-8").splitlines()[-1] == "quit -t 10"
    wait_for(lambda: not alive(daemon))


def test_the_daemon_of_the_machine_is_used_and_left_alone(home: Path) -> None:
    (home / "control").write_text("1", encoding="utf-8")
    with shared_gpu() as how:
        assert how == "side by side, through the MPS daemon that runs here"
        assert left(home) == []
    assert "quit" not in (home / "log").read_text(encoding="utf-8")


FAULTY = "CUDA error: 805"


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        ((), "no device"),
        ((sys.executable, "-c", f"raise SystemExit({FAULTY!r} + chr(27))"), f"{FAULTY}\\x1b"),
        (("sleep", "60"), "sleep has not ended after 2 s"),
    ],
    ids=["it does not begin", "nothing computes", "nothing ends"],
)
def test_turns_where_mps_does_not_work(
    trial: tuple[str, ...], reason: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not trial:
        (home / "broken").touch()
    monkeypatch.setattr(module, "_SECONDS", 2.0)
    monkeypatch.setattr(module, "_TRIAL", trial)
    with shared_gpu() as how:
        assert how == f"in turns, for MPS does not work here: {reason}"
        assert left(home) == []


def test_turns_without_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with shared_gpu() as how:
        assert how == f"in turns, for there is no {CONTROL} on the PATH"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_command_leaves_no_daemon(end: signal.Signals, home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN, *WORKS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("side by side")
        assert left(home) != []
        os.killpg(process.pid, end)  # as a terminal does
    wait_for(lambda: left(home) == [])


def test_what_fails_inside_is_told_and_ends_the_daemon(home: Path) -> None:
    with pytest.raises(ValueError, match="inside"), shared_gpu():
        raise ValueError("inside")
    assert left(home) == []


@pytest.mark.parametrize(("parallel", "said"), [(1, 0), (2, 1)])
def test_the_command_says_how_its_runs_share_the_gpu(
    parallel: int, said: int, home: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setattr("drnn_deploy.training.training_run.usable_device", lambda device: device)
    words = ("copy-memory-500", "--device", "cuda", "--parallel", parallel, "--minutes", 0.001, "--output", home)
    ended = command("drnn-deploy", "experiment", *words)
    assert ended.out.count("the runs share the GPU side by side") == said
    assert left(home) == []


@pytest.mark.gpu
def test_a_process_computes_on_the_gpu_that_is_shared() -> None:
    need("torch-cuda")
    with shared_gpu() as how:
        subprocess.run(module._TRIAL, check=True, timeout=60)
    assert how.startswith(("side by side", "in turns"))
