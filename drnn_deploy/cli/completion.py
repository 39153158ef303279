"""`drnn-deploy completion`: scripts by which a shell completes, made by click, where the shell looks for them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from drnn_core.errors import InputError
from drnn_core.files import from_home, replacing
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import make_console, show_next

_SHELLS = ("bash", "zsh", "fish")
_PROGRAMS = ("drnn-deploy", "drnn-export", "drnn-parity")
_ZSH_FUNCTIONS = ".zfunc"
_ZSH_LINES = f"fpath=(~/{_ZSH_FUNCTIONS} $fpath)\nautoload -Uz compinit && compinit\n"


@command()
@click.argument("shell", required=False, type=click.Choice(_SHELLS))
@click.option("--print", "only_print", is_flag=True, help="Print the scripts in place of installing them.")
def completion(shell: str | None, only_print: bool) -> None:
    """Let the shell complete drnn-deploy, drnn-export and drnn-parity with the Tab key.

    SHELL is bash, zsh or fish; by default the one of $SHELL. The scripts go where that shell looks for them: for bash
    into ~/.local/share/bash-completion/completions, for fish into ~/.config/fish/completions, for zsh into ~/.zfunc,
    which is added to ~/.zshrc.
    """
    shell = shell or Path(os.environ.get("SHELL", "")).name
    if shell not in _SHELLS:
        raise InputError("it is not known which shell to install for", f"Type: drnn-deploy completion {_SHELLS[0]}")
    if only_print:
        for program in _PROGRAMS:
            click.echo(script(shell, program))
        return
    console = make_console(None)
    for program in _PROGRAMS:
        path = place(shell, program)
        with replacing(path) as temporary:
            temporary.write_text(script(shell, program), encoding="utf-8")
        console.print(f"wrote   {path}")
    if shell == "zsh":
        _add_functions(from_home("~/.zshrc"))
    show_next(console, f"open a new {shell}, or type: exec {shell}")


def script(shell: str, program: str) -> str:
    """What a shell runs to complete a program.

    Args:
        shell: One of bash, zsh and fish.
        program: The name of the program.
    """
    made = get_completion_class(shell)
    assert made is not None
    variable = f"_{program}_COMPLETE".replace("-", "_").upper()
    return made(click.Command(program), {}, program, variable).source()


def place(shell: str, program: str) -> Path:
    """Where a shell looks for a program's script by itself; zsh once its folder is in `fpath`.

    Args:
        shell: One of bash, zsh and fish.
        program: The name of the program.
    """
    data = from_home(os.environ.get("XDG_DATA_HOME") or "~/.local/share")
    config = from_home(os.environ.get("XDG_CONFIG_HOME") or "~/.config")
    return {
        "bash": data / "bash-completion" / "completions" / program,
        "zsh": from_home(f"~/{_ZSH_FUNCTIONS}/_{program}"),
        "fish": config / "fish" / "completions" / f"{program}.fish",
    }[shell]


def _add_functions(settings: Path) -> None:
    """Let zsh look into its folder, once."""
    before, lines = settings.read_bytes() if settings.is_file() else b"", _ZSH_LINES.encode()
    if lines not in before:
        with replacing(settings.resolve()) as temporary:
            if settings.exists():
                shutil.copymode(settings, temporary)
            temporary.write_bytes((before.rstrip() + b"\n\n" + lines).lstrip())
