"""Runs the commands on hostile inputs, each in a process that is measured: how it ends, for how long, in what memory.

One process imports the product once and forks for every command, so that a thousand of them take minutes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import pkgutil
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

MOST_SECONDS, MOST_BYTES = 20.0, 2_000_000_000  # that an input may take to be refused
_LIMIT = 6 << 30  # bytes of data, at which a command that is not bounded is stopped
_READABLE = 2_600  # characters of standard error: a message of 2,000, and what to do


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: Its exit code; negative for a signal.
        seconds: How long it took.
        bytes: The most memory that it, or a process that it started, had at once.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    code: int
    seconds: float
    bytes: int
    out: str
    err: str

    def check(self, what: str, *, codes: Sequence[int] = (2,)) -> None:
        """Fail unless the command ended with one of `codes` and a short message, within the limits."""
        said = (
            f"{what}: exit code {self.code} after {self.seconds:.1f} s in {self.bytes / 1e9:.2f} GB: {self.err[-800:]}"
        )
        assert self.code in codes, said
        assert "Traceback" not in self.out + self.err, said
        assert len(self.err) <= _READABLE, said
        assert self.seconds <= MOST_SECONDS, said
        assert self.bytes <= MOST_BYTES, said
        if self.code == 2 and "FAILED" not in self.out:
            assert self.err.startswith(("drnn-deploy: ", "drnn-export: ")), said


class Commands:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.measured"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.outcomes: list[Outcome] = []

    def run(self, folder: Path, *words: object) -> Outcome:
        """Run `drnn-deploy WORDS` in a folder, and check that it leaves nothing there."""
        assert self._process.stdin is not None and self._process.stdout is not None
        before = _tree(folder)
        print(json.dumps({"words": list(map(str, words)), "folder": str(folder)}), file=self._process.stdin, flush=True)
        outcome = Outcome(**json.loads(self._process.stdout.readline()))
        assert _tree(folder) == before, f"{words} changed files"
        self.outcomes.append(outcome)
        return outcome

    def close(self) -> None:
        with self._process:
            pass

    @property
    def figures(self) -> str:
        """The number of commands, and the most that one of them took."""
        seconds, most = (max(getattr(outcome, name) for outcome in self.outcomes) for name in ("seconds", "bytes"))
        return f"{len(self.outcomes)} inputs, none over {seconds:.1f} s and {most / 1e9:.2f} GB"


def _tree(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def main() -> None:
    """Fork for every line of standard input, a command."""
    for name in ("drnn_core", "drnn_models", "drnn_runtimes", "drnn_export", "drnn_deploy", "onnxruntime", "torch"):
        package = importlib.import_module(name)
        if name.startswith("drnn_"):
            for module in pkgutil.walk_packages(package.__path__, f"{name}."):
                if not module.name.endswith("__main__"):
                    importlib.import_module(module.name)
    from drnn_deploy.cli import main as command

    replies = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(json.dumps(_measured(command, **json.loads(line))), file=replies, flush=True)


def _measured(command: Any, words: list[str], folder: str) -> dict[str, Any]:
    place = Path(tempfile.mkdtemp())  # and no TemporaryDirectory, which the child would remove at its end
    outputs = [place / label for label in ("out", "err")]
    for path in outputs:
        path.touch()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _run(command, words, folder, outputs)
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - started > 1.5 * MOST_SECONDS:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.005)
    seconds = time.monotonic() - started
    out, err = (path.read_text(encoding="utf-8", errors="replace") for path in outputs)
    shutil.rmtree(place)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "seconds": seconds, "bytes": usage.ru_maxrss * 1024, "out": out, "err": err}


def _run(command: Any, words: list[str], folder: str, outputs: Sequence[Path]) -> None:
    import atexit

    code = 70
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (_LIMIT, _LIMIT))
        for number, path in enumerate(outputs, start=1):
            os.dup2(os.open(path, os.O_WRONLY), number)
        os.chdir(folder)
        sys.argv = ["drnn-deploy", *words]
        with _flushed():
            command()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        with _flushed():
            traceback.print_exc()
    finally:
        atexit._run_exitfuncs()  # so that processes which it started are waited for, and measured
        os._exit(code)


@contextlib.contextmanager
def _flushed() -> Iterator[None]:
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()


if __name__ == "__main__":
    main()
