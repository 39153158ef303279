"""Kinds of values on the command line, and what can be seen of one before any work, such as whether it is there."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from drnn_core.bounds import open_file
from drnn_core.errors import InputError
from drnn_core.files import check_name, check_writable


class Checked(click.ParamType[Any]):
    """A value with a check that needs no heavy import. It raises a `DeployError`, which `--json` holds as well.

    Attributes:
        is_path: Whether it is a place.
        writes: Whether it is a place that the command writes.
    """

    is_path = False
    writes = False

    def check(self, value: Any) -> None:
        """Refuse a value that cannot be right.

        Raises:
            DeployError: With what to type in its place.
        """

    def check_place(self, value: Any) -> None:
        """Refuse a path at which the system does not look, where this is one."""


class _Path(Checked):
    name = "path"
    is_path = True

    def check_place(self, value: Any) -> None:
        """See `drnn_core.files.check_name`."""
        check_name(value)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """See click.ParamType. What begins with a dash is written so that a command that is shown can be typed."""
        path = Path(value)
        return path.absolute() if str(path).startswith("-") else path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Complete names of files, as shells do; see click.ParamType.

        Args:
            ctx: The command.
            param: The option.
            incomplete: What was typed of it.
        """
        return click.Path(file_okay=self.name != "directory").shell_complete(ctx, param, incomplete)


class InputPath(_Path):
    """What is read, and refused in words of the command's own where it is not there."""


class InputFile(_Path):
    """A file to read."""

    def __init__(self, wanted: str = "the path of a file") -> None:
        self._wanted = wanted

    def check(self, value: Path) -> None:
        """Refuse what is not there, a folder, and an empty file."""
        from drnn_models.file_kinds import check_file

        check_file(value, self._wanted)


class CheckpointFile(_Path):
    """A checkpoint, model.pt."""

    def check(self, value: Path) -> None:
        """Refuse what the first bytes show to be none."""
        from drnn_models.file_kinds import check_checkpoint_file

        check_checkpoint_file(value)


class BundleFolder(_Path):
    """A bundle's folder."""

    name = "directory"

    def check(self, value: Path) -> None:
        """Refuse what has no manifest."""
        from drnn_models.file_kinds import check_bundle_folder

        check_bundle_folder(value)


class BundleOrCheckpoint(_Path):
    """A bundle's folder, or a checkpoint's file."""

    def check(self, value: Path) -> None:
        """Refuse what is neither at first sight."""
        (BundleFolder if value.is_dir() else CheckpointFile)().check(value)


class InputFolder(_Path):
    """A folder to read."""

    name = "directory"

    def check(self, value: Path) -> None:
        """Refuse what is none."""
        if not value.is_dir():
            raise InputError(f"there is no folder {value!s:.300}", "Give one that is there.")


class OutputFile(_Path):
    """A file to write."""

    writes = True

    def check(self, value: Path) -> None:
        """Refuse a place where no file can be."""
        check_writable(value)


class OutputFolder(_Path):
    """A folder to write."""

    name = "directory"
    writes = True

    def check(self, value: Path) -> None:
        """Refuse a place where no folder can be."""
        check_writable(value, "folder")


class JsonOutput(Checked):
    """A file to write, or - for standard output."""

    name = "file"
    is_path = True
    writes = True

    def check_place(self, value: Any) -> None:
        """See `drnn_core.files.check_name`."""
        check_name(value)

    def check(self, value: str) -> None:
        """Refuse a place where no file can be, and a file that no report is: the name of the report was left out."""
        if value == "-":
            return
        check_writable(Path(value))
        if Path(value).is_file():
            with open_file(Path(value)) as file:
                if file.read(1) not in (b"", b"{"):
                    raise InputError(f"{value!s:.300} is there, and is no report", "Name another file behind --json.")


class Number(click.FloatRange):
    """A number with a least value, which is neither infinite nor NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a number.

        Args:
            value: What was typed.
            param: The option, for messages.
            ctx: The command, for messages.

        Raises:
            click.BadParameter: It is none, or out of range.
        """
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


POSITIVE = Number(min=0, min_open=True)
THREADS = click.IntRange(1, 1024)  # `drnn_runtimes.runtime.MOST_THREADS`, which takes too long to import for --help


class Name(Checked):
    """A name of something that there are several of, such as a runtime.

    Args:
        what: What it is a name of, in one word.
        known: Gives the names; called where one is checked or completed.
        more: Words that mean several, or none.
    """

    def __init__(self, what: str, known: Callable[[], list[str]], *more: str) -> None:
        self.name, self._known, self._more = what, known, more

    def check(self, value: str) -> None:
        """Refuse a name that there is not."""
        from drnn_core.text import choose_from

        known = [*self._known(), *self._more]
        if value not in known:
            raise InputError(f"there is no {self.name} {value!r}", choose_from(value, known))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Complete a name; see click.ParamType.

        Args:
            ctx: The command.
            param: The option.
            incomplete: What was typed of it.
        """
        from click.shell_completion import CompletionItem

        names = [*self._known(), *self._more]
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def runtime_names() -> list[str]:
    """The names of all runtimes."""
    from drnn_runtimes.registry import RUNTIMES

    return list(RUNTIMES)


RUNTIME = Name("runtime", runtime_names)


class ComputeCapability(click.ParamType[str]):
    """A generation of NVIDIA GPUs: 8.6, 86 and sm_86 are the same."""

    name = "8.6"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Write it as CUDA does.

        Args:
            value: What was typed.
            param: The option, for messages.
            ctx: The command, for messages.

        Raises:
            click.BadParameter: It is none.
        """
        from drnn_core.gpu import compute_capability

        try:
            return compute_capability(value)
        except InputError as error:
            self.fail(f"{error.message}. {error.fix}", param, ctx)


class BatchSize(click.ParamType["int | tuple[int, int, int] | None"]):
    """A batch size, `dynamic`, which is None, or the smallest, usual and largest size of a dynamic batch."""

    name = "N|dynamic|MIN:OPT:MAX"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | tuple[int, int, int] | None:
        """Read N, MIN:OPT:MAX or `dynamic`; see click.ParamType.

        Args:
            value: What was typed.
            param: The option, for messages.
            ctx: The command, for messages.

        Returns:
            The size, (min, opt, max), or None for any size.

        Raises:
            click.BadParameter: It is none of these, or the sizes do not ascend.
        """
        if value == "dynamic":
            return None
        number = click.IntRange(min=1)
        sizes: list[int] = [number(part, param, ctx) for part in str(value).split(":")]
        if len(sizes) == 1:
            return sizes[0]
        if len(sizes) != 3 or sizes != sorted(sizes):
            self.fail(f"{value!r} is not MIN:OPT:MAX in ascending order, for example 1:8:64", param, ctx)
        return sizes[0], sizes[1], sizes[2]
