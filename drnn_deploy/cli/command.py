"""What every command has: short options, places that are checked before any work, JSON on failure, its output's end."""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from drnn_core.environment import package_version
from drnn_core.errors import InputError
from drnn_deploy.cli.console import VERBOSITY
from drnn_deploy.cli.failures import json_on_failure, json_place
from drnn_deploy.cli.values import Checked

KEPT = "drnn-deploy.kept"  # of a context's meta: the values of options that a command's function does not get
BROKEN_PIPE = 141  # what a shell reports of a program that SIGPIPE ended
_HELP = {"help_option_names": ["-h", "--help"]}


class _Ours(click.Command):
    """What commands and groups have: `-h`, and an end of its own where the reader of the output is gone."""

    def __init__(self, *words: Any, **settings: Any) -> None:
        super().__init__(*words, **settings)
        self.context_settings = {**_HELP, **self.context_settings}

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read what was typed, which may print the help; see click.Command.

        Args:
            info_name: The command's name.
            args: What was typed behind it.
            parent: The context of its group.
            **extra: As of click.Context.
        """
        with broken_pipe_ends():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """See click.Command."""
        with broken_pipe_ends():
            return super().invoke(ctx)


class Command(_Ours):
    """A command with `--quiet`, `--verbose`, `--version` and `-h`; `--json` holds its failure, too."""

    def __init__(self, *words: Any, **settings: Any) -> None:
        super().__init__(*words, **settings)
        self.params += _common()

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read what was typed; `--json` holds that it cannot be read."""
        with json_on_failure(json_place(args) if self._writes_json else None):
            return super().make_context(info_name, list(args), parent, **extra)

    @property
    def _writes_json(self) -> bool:
        return any(parameter.name == "json_path" for parameter in self.params)

    def invoke(self, ctx: click.Context) -> Any:
        """Check the values that a look can check, then run; see click.Command."""
        json_path = ctx.params.get("json_path")
        checked = [
            (parameter.type, one)
            for parameter in self.params
            if isinstance(parameter.type, Checked)
            for one in _typed(ctx.params.get(parameter.name or ""))
        ]
        with json_on_failure(json_path):
            for kind, value in checked:
                kind.check_place(value)
        _refuse_one_place_for_two(self.params, ctx.params)  # its failure may not be written there either
        with json_on_failure(json_path):
            for kind, value in checked:
                kind.check(value)
            return super().invoke(ctx)


class Group(_Ours, click.Group):
    """A group that asks "did you mean" where it has no such command."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; see click.Group.

        Args:
            ctx: Of the group.
            args: The words that were typed, the name first.

        Raises:
            click.UsageError: There is no such command.
        """
        if not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            question = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{question}")
        return super().resolve_command(ctx, args)


def command(name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a `Command` of a function.

    Args:
        name: Of the command. Default: the function's.
        settings: As of click.command.
    """
    return click.command(name, cls=Command, **settings)


def typed_words(context: click.Context, without: Container[str] = ()) -> list[str]:
    """The words behind a command that was typed.

    Args:
        context: Of the command.
        without: The names of arguments and options to leave out.
    """
    words: list[str] = []
    values = {**context.params, **context.meta.get(KEPT, {})}
    for parameter in context.command.params:
        name = parameter.name or ""
        typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not typed or name in without or name not in values:
            continue
        value = values[name]
        if isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
            continue
        for one in value if isinstance(value, tuple) and (parameter.multiple or parameter.nargs != 1) else (value,):
            words += parameter.opts[:1] * isinstance(parameter, click.Option)
            words.append(",".join(map(str, one)) if isinstance(one, tuple) else str(one))
    return words


def _refuse_one_place_for_two(parameters: Iterable[click.Parameter], values: Mapping[str, Any]) -> None:
    """Refuse to write two results to the same place, or over what is read, or into a bundle that is read."""
    inputs, outputs = dict[Path, str](), dict[Path, str]()
    for parameter in parameters:
        value = values.get(parameter.name or "")
        if not isinstance(parameter.type, Checked) or not parameter.type.is_path or value == "-":
            continue
        places = outputs if parameter.type.writes else inputs
        for one in _typed(value):
            name, place = parameter.opts[0], Path(os.path.realpath(one))
            if place in outputs and parameter.type.writes:
                what = f"{outputs[place]} and {name} would both write {one!s:.300}"
                raise InputError(what, "Name another place for one of them.")
            places[place] = name
    for place, name in outputs.items():
        for read in inputs:
            into = (read == place or read in place.parents) and (read / "manifest.json").is_file()
            if into or (place == read and not read.is_dir()):
                what = f"{name} would write {'into' if into else 'over'} {read!s:.300}, which is read"
                raise InputError(what, "Name another place.")


def _typed(value: Any) -> Iterable[Any]:
    """The values of a parameter, which may repeat, or be left out."""
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _common() -> list[click.Parameter]:
    """The options that every command has, behind its own."""

    def holder() -> None: ...

    for option in (
        click.version_option(package_version()),
        click.option("-v", "--verbose", **_verbosity(1), help="Say more: every step, and every reason."),
        click.option("-q", "--quiet", **_verbosity(-1), help="Say only how it ended."),
    ):
        option(holder)
    parameters: list[click.Parameter] = holder.__click_params__  # type: ignore[attr-defined]
    return parameters[::-1]


def _verbosity(level: int) -> dict[str, Any]:
    def keep(ctx: click.Context, _: click.Parameter, chosen: bool) -> None:
        if chosen and ctx.meta.setdefault(VERBOSITY, level) != level:
            raise click.UsageError("--quiet and --verbose contradict each other: leave one of them out.", ctx)

    return {"is_flag": True, "expose_value": False, "callback": keep}


@contextlib.contextmanager
def broken_pipe_ends() -> Iterator[None]:
    """End as other programs do where the reader of the output is gone, as with `| head`: by no code of ours."""
    try:
        yield
        if sys.stdout is not None:  # as it is where a program is started without one
            sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                os.dup2(nowhere, stream.fileno())  # so that the flush at the end finds a place
        raise SystemExit(BROKEN_PIPE) from None
