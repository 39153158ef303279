"""The errors a person can act on; the command line turns each into one message and its exit code."""

from __future__ import annotations


class DeployError(Exception):
    """Something the user can mend: what happened, and what to do about it.

    Subclasses fix the exit code of the command line (see the README's table of exit codes).
    """

    exit_code = 2

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n{self.fix}" if self.fix else self.message


class ParityError(DeployError):
    """A runtime's numbers differ from the reference by more than the stated limit."""

    exit_code = 1


class InputError(DeployError):
    """A file, value or request that cannot be used as given."""

    exit_code = 2


class SpecError(InputError):
    """A model specification that contradicts itself; the message names the field."""


class RuntimeUnavailableError(DeployError):
    """A runtime was asked for and cannot be had, or would have fallen back to another device."""

    exit_code = 3


class EngineError(DeployError):
    """An engine cannot be built, or does not fit this machine."""

    exit_code = 4
