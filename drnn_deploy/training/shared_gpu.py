"""One GPU for several trainings at once, through NVIDIA's Multi-Process Service (MPS).

Without it processes take turns on a GPU, and a narrow network leaves most of it idle in its own. With it a fault on the
GPU ends them all, and each goes on from its state when it is begun again.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence

from drnn_core.text import for_people
from drnn_core.variables import setting_variables

CONTROL = "nvidia-cuda-mps-control"
_SECONDS = 60.0  # that each command may take
_TRIAL = (sys.executable, "-c", "import torch; torch.ones(1, device='cuda').item()")
_GUARD = f'cat; echo "quit -t 10" | {CONTROL}; rm -r "$0"'  # its input ends when this process does, however it does


@contextlib.contextmanager
def shared_gpu() -> Generator[str, None, None]:
    """While this is open, processes that begin compute on the GPU side by side, where MPS runs or can be started.

    Yields:
        How they share the GPU, to end a sentence with.
    """
    if shutil.which(CONTROL) is None:
        yield f"in turns, for there is no {CONTROL} on the PATH"
    elif _failure([CONTROL], "get_server_list\n") is None:
        yield "side by side, through the MPS daemon that runs here"
    else:
        with _own_daemon() as failure:
            own = "side by side, through an MPS daemon that ends with this command"
            yield own if failure is None else f"in turns, for MPS does not work here: {failure}"


@contextlib.contextmanager
def _own_daemon() -> Generator[str | None, None, None]:
    """A daemon for what is started inside, or why it does not work; then there is none."""
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="drnn-mps-")
        stack.enter_context(setting_variables({"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}))
        guard = subprocess.Popen(
            ["sh", "-c", _GUARD, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it: the daemon outlasts its clients
        )
        stack.callback(_end, guard)
        failure = _failure([CONTROL, "-d"])
        stack.enter_context(setting_variables({"CUDA_VISIBLE_DEVICES": None}))  # clients see the devices of the daemon
        failure = failure or _failure(_TRIAL)
        if failure is not None:
            stack.close()
        yield failure


def _end(guard: subprocess.Popen[bytes]) -> None:
    try:
        guard.communicate(timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        guard.kill()
        guard.wait()


def _failure(command: Sequence[str], said: str = "") -> str | None:
    """Why a command failed, None where it did not: the last line that it wrote."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:  # a daemon would hold a pipe open
        try:
            subprocess.run(
                command, input=said.encode(), stdout=told, stderr=subprocess.STDOUT, timeout=_SECONDS, check=True
            )
        except subprocess.TimeoutExpired:
            return f"{command[0]} has not ended after {_SECONDS:g} s"
        except (OSError, subprocess.CalledProcessError) as error:
            told.seek(0)
            return for_people((told.read().strip() or str(error)).splitlines()[-1])
    return None
