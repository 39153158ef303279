"""Failures that a user can mend, in the JSON that was asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import click

from drnn_core.errors import DeployError
from drnn_core.failures import explained_failures
from drnn_deploy.cli.console import write_json
from drnn_deploy.cli.values import JsonOutput


@contextlib.contextmanager
def json_on_failure(json_path: str | None) -> Iterator[None]:
    """Write `{"passed": false, "error": ...}` where the body raises what a user can mend.

    Args:
        json_path: What was typed behind `--json`; None for nothing.
    """
    try:
        with explained_failures():
            yield
    except DeployError as error:
        _write(json_path, error.exit_code, error.message, error.fix)
        raise
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "drnn-deploy"
        _write(json_path, error.exit_code, error.format_message(), f"Type: {path} --help")
        raise


def _write(json_path: str | None, code: int, message: str, fix: str) -> None:
    """A place that cannot be written is the user's next error, and does not hide this one."""
    with contextlib.suppress(DeployError, OSError, ValueError):
        if json_path is not None:
            JsonOutput().check(json_path)
            write_json(json_path, {"passed": False, "exit_code": code, "error": {"message": message, "fix": fix}})


def json_place(words: Sequence[str]) -> str | None:
    """What stands behind `--json` in a command that could not be read; None where nothing does.

    Args:
        words: What was typed behind the command's name.
    """
    for number, word in enumerate(words):
        name, equals, place = word.partition("=")
        if name == "--json" and equals:
            return place
        if name == "--json":
            return words[number + 1] if number + 1 < len(words) else None
    return None
