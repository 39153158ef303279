"""The commands `drnn-deploy` and `drnn-export`. Each sub-command's module is imported when it is called."""

from __future__ import annotations

import importlib
import keyword
import sys

import click

from drnn_core.environment import package_version
from drnn_core.errors import DeployError
from drnn_core.failures import explained_failures
from drnn_deploy.cli.command import Group, broken_pipe_ends

_COMMANDS = {
    "bench": "Time every way to run a network here, each checked first, beside the limit.",
    "cache": "Show or clear what is kept on this machine: engines, kernels, float64 answers.",
    "completion": "Let the shell complete commands, options and names with the Tab key.",
    "data": "Fetch and verify the tasks' data sets.",
    "demo": "Classify a bundle's example digits through every runtime, with pictures.",
    "doctor": "Show what is installed here, what will work, and what to install for the rest.",
    "evaluate": "Measure a bundle's task metric through its runtimes.",
    "experiment": "Train the runs of a comparison and keep their results.",
    "export": "Write the bundle of a trained network and check it on every runtime.",
    "import": "Turn a network that other PyTorch code trained into a checkpoint.",
    "inspect": "Verify a bundle and show what is in it.",
    "lint": "Check what TensorRT's ONNX parsers will make of an ONNX file.",
    "parity": "Check that every runtime computes what float64 makes of a bundle's weights.",
    "plan": "Compare a network's graphs by what they cost on a target, and recommend one.",
    "report": "Write the results page from the results of experiments.",
    "run": "Run a bundle on your own arrays, whole sequences or streams.",
    "stream": "Listen to a sound file or a microphone, and show a running prediction.",
    "suggest": "Compare stacks of dilations for a sequence length.",
    "train": "Train a network on one of the paper's tasks.",
}


class _LazyGroup(Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name  # PEP 8's spelling of import
        module = importlib.import_module(f"drnn_deploy.cli.{name}")
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(_COMMANDS.items()))


@click.group(cls=_LazyGroup)
@click.version_option(package_version(), prog_name="drnn-deploy")
def drnn_deploy() -> None:
    """Dilated recurrent networks from PyTorch to ONNX and TensorRT.

    Exit codes: 0 fine, 1 parity failed, 2 usage or bad file, 3 runtime missing or fell back, 4 engine cannot be built
    or does not fit this machine; 130 stopped by Ctrl-C, 143 by SIGTERM, 141 the reader of the output is gone.
    """


def main() -> None:
    """Entry point of `drnn-deploy`."""
    _run(drnn_deploy, "drnn-deploy")


def main_export() -> None:
    """Entry point of `drnn-export`, the shortcut of `drnn-deploy export`."""
    from drnn_deploy.cli.export import export

    _run(export, "drnn-export")


def main_parity() -> None:
    """Entry point of `drnn-parity`, the shortcut of `drnn-deploy parity`."""
    from drnn_deploy.cli.parity import parity

    _run(parity, "drnn-parity")


def _run(command: click.Command, name: str) -> None:
    with broken_pipe_ends():  # also while it says what went wrong
        _run_and_exit(command, name)


def _run_and_exit(command: click.Command, name: str) -> None:
    try:
        with explained_failures():
            sys.exit(command.main(prog_name=name, standalone_mode=False) or 0)
    except DeployError as error:
        click.echo(f"{name}: {error.message}", err=True)
        if error.fix:
            click.echo(error.fix, err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        click.echo(f"{name}: stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
