"""One training for a process of its own: what it is told, and how it ended."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drnn_core.errors import DeployError
from drnn_core.worker_process import Child, ChildError
from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.results import Result

WORKER = "drnn_deploy.training.worker"
Tell = Callable[[dict[str, Any]], None]  # gets each line of the log: iteration, loss, seconds, validation


@dataclasses.dataclass(frozen=True)
class Job:
    """A training.

    Attributes:
        name: What it is called, in messages and among other jobs.
        recipe: What to train.
        folder: Where its state lies and its files go.
        device: "cpu" or "cuda".
        threads: CPU threads of PyTorch.
        seconds: Of training, after which it ends. None: the recipe's iterations alone count.
    """

    name: str
    recipe: Recipe
    folder: Path
    device: str = "cpu"
    threads: int = 1
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, for `from_json` in another process."""
        place = {"folder": str(self.folder.absolute()), "recipe": self.recipe.to_json()}
        return {"name": self.name, "device": self.device, "threads": self.threads, "seconds": self.seconds, **place}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Job:
        """The job of what `to_json` gave.

        Args:
            data: Plain JSON types.
        """
        return Job(**{**data, "recipe": Recipe.from_json(data["recipe"]), "folder": Path(data["folder"])})


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a job ended: with a result, or stopped with its state saved, or failed for a reason; or why it cannot begin.
    With nothing of these it was stopped while it began.

    Attributes:
        result: Of a training that came to its end.
        stopped: The iteration at which it was stopped.
        failure: Why it failed.
        waits_for: The run whose time it gets, where that has no result yet.
        note: What its process warned of.
    """

    result: Result | None = None
    stopped: int | None = None
    failure: str = ""
    waits_for: str = ""
    note: str = ""

    @staticmethod
    def failed(error: DeployError) -> Outcome:
        """The outcome of a job that ended with an error.

        Args:
            error: Why it failed.
        """
        return Outcome(failure=f"{error.message}. {error.fix}".strip(". "))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, for `from_json` in another process: what there is of it."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value not in (None, "")}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Outcome:
        """The outcome of what `to_json` gave.

        Args:
            data: Plain JSON types.
        """
        return Outcome(**{**data, "result": Result(**data["result"]) if "result" in data else None})


class Process:
    """A child process that does one job."""

    def __init__(self) -> None:
        self._child: Child | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()  # no child begins once it is stopped

    def do(self, job: Job, tell: Tell) -> Outcome:
        """Start the child and wait for its end. Whatever happens to it is an outcome.

        Args:
            job: What it trains.
            tell: Gets its log, line by line.
        """
        with self._lock:
            if self._stopped.is_set():
                return Outcome()
            try:
                self._child = Child(WORKER)
            except OSError as error:
                return Outcome(failure=f"no process can be started: {error.strerror or error}")
        with contextlib.closing(self._child):
            try:
                reply = self._child.ask(job.to_json(), threading.TIMEOUT_MAX, tell)
            except ChildError as error:  # stopped while it begins, it does not answer
                return Outcome() if self._stopped.is_set() else Outcome(failure=error.how)
        return Outcome.from_json(reply)

    def stop(self) -> None:
        """Let it save its state and end."""
        with self._lock:
            if not self._stopped.is_set() and self._child is not None:
                self._child.terminate()
            self._stopped.set()
