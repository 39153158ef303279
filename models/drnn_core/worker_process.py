"""Work that may crash or hang, in a process of its own: one request (JSON) in, one reply (JSON) out.

The caller says `ask("some.module", request, seconds)`; that module, run as a program, says `answer(function)`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_POLL_SECONDS = 0.5
_TAIL = 6  # lines of a child's output that a message repeats
_PARENT = "parent"


class ChildError(Exception):
    """The child did not answer.

    Attributes:
        how: Its end and the last lines that it wrote.
        late: Whether its time was over.
    """

    def __init__(self, how: str, *, late: bool = False) -> None:
        super().__init__(how)
        self.how, self.late = how, late


def ask(module: str, request: Mapping[str, Any], time_limit: float) -> dict[str, Any]:
    """Run a module in a process of its own and return its reply.

    The child has this process's import path. If it is late, or this process is interrupted, it is killed with
    everything that it started.

    Args:
        module: What to run; it calls `answer`.
        request: Anything that JSON can hold.
        time_limit: Seconds.

    Raises:
        ChildError: The child ends without a reply or is late.
    """
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    with (
        tempfile.TemporaryFile() as output,  # not a pipe, which a grandchild could hold open
        subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        ) as process,
    ):
        try:
            answer, _ = process.communicate(json.dumps({**request, _PARENT: os.getpid()}), timeout=time_limit)
        except subprocess.TimeoutExpired:
            raise ChildError(f"no answer after {time_limit:g} s", late=True) from None
        finally:
            _kill(process)
        output.seek(0)
        written = output.read().decode("utf-8", "replace")
    if process.returncode != 0:
        raise ChildError(_ending(process.returncode, written))
    try:
        reply: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise ChildError(f"it ended without a reply: {_ending(0, written)}") from None
    return reply


def answer(reply: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Give `reply(request)` as the answer; this is the child's side. The process ends when its caller does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C may reach the whole group: the caller ends this process
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print: keep that out of the reply
    request = json.load(sys.stdin)
    threading.Thread(target=_end_with_parent, args=(request.pop(_PARENT),), daemon=True).start()
    with replies:
        json.dump(reply(request), replies)


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is not None:
        return
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)  # of which it is the leader: see start_new_session
    else:
        process.kill()


def _ending(code: int, output: str) -> str:
    """How a process ended, and the last lines that it wrote."""
    if code < 0:
        known = {number.value: number.name for number in signal.Signals}
        how = f"killed by {known.get(-code, f'signal {-code}')}"
        if -code == signal.SIGKILL:
            how += " (the system does that when memory runs out)"
    else:
        how = f"exit code {code}"
    return "\n".join([how, *output.strip().splitlines()[-_TAIL:]])


def _end_with_parent(parent: int) -> None:
    """Work that nobody waits for any more must not go on for minutes."""
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)
