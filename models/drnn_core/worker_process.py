"""Work that may crash or hang, in a process of its own: requests (JSON) in, replies (JSON) out, a line each.

The caller says `ask("some.module", request, seconds)`, or keeps a `Child("some.module")` for several requests; that
module, run as a program, says `answer(function)`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]
_POLL_SECONDS = 0.5
_END_SECONDS = 10.0  # that a child may take to end when nothing more is asked
_TAIL = 6  # lines of a child's output that a message repeats
_PARENT, _ROW, _REPLY = "parent", "row", "reply"


class ChildError(Exception):
    """The child did not answer.

    Attributes:
        how: Its end and the last lines that it wrote.
        late: Whether its time was over.
    """

    def __init__(self, how: str, *, late: bool = False) -> None:
        super().__init__(how)
        self.how, self.late = how, late


def ask(
    module: str, request: Mapping[str, Any], time_limit: float, environment: Mapping[str, str] | None = None
) -> Row:
    """Ask a new child of `module`, which then ends.

    Args:
        module: As for `Child`.
        request: As for `Child.ask`.
        time_limit: As for `Child.ask`.
        environment: As for `Child`.

    Returns:
        The reply.

    Raises:
        ChildError: As for `Child.ask`.
    """
    with contextlib.closing(Child(module, environment)) as child:
        return child.ask(request, time_limit)


class Child:
    """A process that runs a module with this process's import path and answers one request after the other.

    Close it; it also ends where this process does.

    Args:
        module: The module's full name. It calls `answer`.
        environment: The environment variables that it is given, in place of this process's.
    """

    def __init__(self, module: str, environment: Mapping[str, str] | None = None) -> None:
        path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  not a pipe, which a grandchild could hold open
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            encoding="utf-8",
            errors="replace",
            env={**(os.environ if environment is None else environment), "PYTHONPATH": path},
            start_new_session=True,
        )

    def ask(self, request: Mapping[str, Any], time_limit: float, on_row: Callable[[Row], None] = lambda _: None) -> Row:
        """Send a request and wait for the reply.

        A child that is late and everything it started are killed, and so they are where this process is interrupted.
        Such a child answers no more.

        Args:
            request: Plain JSON types.
            time_limit: Seconds until the reply, which may be infinite.
            on_row: Is given what the child sends before the reply.

        Returns:
            The reply, plain JSON types.

        Raises:
            ChildError: The child ends without a reply, or is late.
        """
        late = threading.Event()

        def end() -> None:
            late.set()
            self.kill()

        timer = threading.Timer(min(time_limit, threading.TIMEOUT_MAX), end)
        timer.start()
        try:
            return self._asked(request, on_row)
        except ChildError:
            self.kill()
            if late.is_set():
                raise ChildError(f"no answer after {time_limit:g} s", late=True) from None
            raise
        except BaseException:
            self.kill()
            raise
        finally:
            timer.cancel()

    @property
    def ended(self) -> bool:
        """Whether the child answers no more, because it has ended."""
        return self._process.poll() is not None

    def terminate(self) -> None:
        """Send the child SIGTERM, which it may answer with its reply."""
        with contextlib.suppress(OSError):
            self._process.terminate()

    def close(self) -> None:
        """Let the child end, or end it where it does not."""
        with contextlib.suppress(OSError), self._process:
            self._process.stdin.close()  # type: ignore[union-attr]
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
            self.kill()
        self._output.close()

    def _asked(self, request: Mapping[str, Any], on_row: Callable[[Row], None]) -> Row:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended, which reading tells
            print(json.dumps({**request, _PARENT: os.getpid()}), file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            if not line.endswith("\n"):  # it ended while it wrote
                break
            message = json.loads(line)
            if _REPLY in message:
                reply: Row = message[_REPLY]
                return reply
            on_row(message[_ROW])
        self._await_end()
        self._output.seek(0)
        how = _ending(self._process.returncode, self._output.read().decode("utf-8", "replace"))
        raise ChildError(how if self._process.returncode else f"it ended without a reply: {how}")

    def _await_end(self) -> None:
        """Wait for the child's end, and end what it left running while its number is still its own."""
        if hasattr(os, "waitid"):
            with contextlib.suppress(OSError):  # it was waited for already, or left nothing running
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def kill(self) -> None:
        """End the child, and everything it started, at once; a thread that waits for its reply gets `ChildError`."""
        if self._process.poll() is not None:
            return
        if hasattr(os, "killpg"):
            os.killpg(self._process.pid, signal.SIGKILL)  # of which it is the leader: see start_new_session
        else:
            self._process.kill()


def answer(
    reply: Callable[[Mapping[str, Any]], Mapping[str, Any] | Generator[Row, None, Row]], *, memory: int | None = None
) -> None:
    """The child's side: give `reply(request)` as the answer to each request, and end where the caller does.

    Args:
        reply: Gets a request. A generator's values are sent at once, as rows, and what it returns is the reply.
        memory: The most bytes that this process may take for data, where the system can keep it to that (Windows
            cannot). What asks for more gets a `MemoryError`, or ends the process.
    """
    if memory is not None:
        _limit_memory(memory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C may reach the whole group: the caller ends this process
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print: keep that out of the reply
    watched = False
    for line in sys.stdin:
        request = json.loads(line)
        parent = request.pop(_PARENT)
        if not watched:
            threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
            watched = True
        for message in _messages(reply(request)):
            print(json.dumps(message), file=replies, flush=True)


def _limit_memory(most: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _messages(reply: Mapping[str, Any] | Generator[Row, None, Row]) -> Generator[Row, None, None]:
    if isinstance(reply, Generator):
        while True:
            try:
                row = next(reply)
            except StopIteration as end:
                reply = end.value
                break
            yield {_ROW: row}
    yield {_REPLY: reply}


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
