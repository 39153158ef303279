"""The errors a person can act on; the command line turns each into one message and its exit code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from drnn_core.text import for_people


class DeployError(Exception):
    """A fault that the user can mend. Each subclass fixes the exit code of the command line (see the README's table).

    Messages quote files: they are cut to a readable length, and hold no control characters but ends of lines.

    Attributes:
        message: What happened.
        fix: What to do about it, or "".
        exit_code: What the command line ends with.
    """

    exit_code = 2

    def __init__(self, message: str, fix: str = "") -> None:
        self.message = for_people(message)
        self.fix = for_people(fix)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n{self.fix}" if self.fix else self.message


class ParityError(DeployError):
    """A runtime's numbers differ from the reference by more than the stated limit."""

    exit_code = 1


class InputError(DeployError):
    """A file, value or request cannot be used as given."""

    exit_code = 2


class SpecError(InputError):
    """A model specification contradicts itself; the message names the field."""


class RuntimeUnavailableError(DeployError):
    """A runtime was asked for and cannot run here, or would fall back to another device."""

    exit_code = 3


def refuse_ignored(*rules: tuple[object, str, str]) -> None:
    """Refuse options that would have no effect, in place of ignoring them in silence.

    Args:
        rules: For each option whether it would be ignored, its name, and what it needs to have an effect.

    Raises:
        InputError: One would be ignored.
    """
    for ignored, option, needs in rules:
        if ignored:
            raise InputError(f"{option} would be ignored: it needs {needs}", f"Leave {option} out, or choose {needs}.")


class EngineError(DeployError):
    """An engine cannot be built, or does not fit this machine."""

    exit_code = 4


@contextlib.contextmanager
def giving_back() -> Iterator[None]:
    """Free something. An error in here is not raised where work has failed already: it would hide the first one.

    A GPU, for one, answers each further call with the error that it had.
    """
    failed = sys.exc_info()[0] is not None
    try:
        yield
    except DeployError:
        if not failed:
            raise
