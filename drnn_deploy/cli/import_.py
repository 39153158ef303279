"""`drnn-deploy import FILE --layout LAYOUT`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_deploy.cli.console import json_on_failure, json_option, make_console, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_models.interop.convert import Imported


class _Dilations(click.ParamType[tuple[int, ...]]):
    name = "1,2,4"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        return tuple(click.IntRange(min=1).convert(part.strip(), param, ctx) for part in value.split(","))


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--layout",
    required=True,
    type=click.Choice(["zalando", "neuralforecast", "torch"]),
    help="Whose weight names the file has.",
)
@click.option(
    "--output", type=click.Path(path_type=Path), default="model.pt", show_default=True, help="The checkpoint to write."
)
@click.option(
    "--dilations",
    type=_Dilations(),
    help="One per layer, bottom first. [default: zalando 1,2,4,...; torch 1,1,...; neuralforecast what the file says]",
)
@click.option(
    "--activation", type=click.Choice(["tanh", "relu"]), default="tanh", show_default=True, help="Of an RNN cell."
)
@click.option(
    "--head",
    type=click.Choice(["last", "last_k", "sequence"]),
    default="sequence",
    show_default=True,
    help="Which steps have an output.",
)
@click.option("--steps", type=click.IntRange(min=1), help="How many last steps have one, with --head last_k.")
@click.option(
    "--head-weight",
    metavar="NAME",
    help="The matrix of the output layer. [default: the only one that fits; without any, the identity]",
)
@click.option("--embedding", metavar="NAME", help="The table that turns tokens into the first layer's input.")
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Weights to leave out, such as 'decoder.*'; repeat.")
@click.option("--force", is_flag=True, help="Replace the output file.")
@json_option
def import_(file: Path, layout: Any, output: Path, force: bool, json_path: str | None, **choices: Any) -> None:
    r"""Turn a network that other PyTorch code trained into a checkpoint, model.pt, with the same outputs.

    FILE is a state dict (torch.save or safetensors), alone or in a training checkpoint. Nothing in it is executed. The
    layouts:

    \b
    zalando         zalandoresearch/pytorch-dilated-rnn: cells.0.weight_ih_l0, cells.1. ...
    neuralforecast  the encoder of Nixtla's DilatedRNN: rnn_stack.0.cells.0.weight_ih_l0, ...
    torch           one nn.RNN, nn.GRU or nn.LSTM, any num_layers: weight_ih_l0, weight_ih_l1, ...

    Outputs are equal to the original's on whole sequences of any length from a zero state. The result is batch first,
    also where the original is time-major. It carries state through pieces of any lengths; zalando's DRNN cannot for
    LSTM, nor from a piece shorter than a dilation, so there is nothing to compare with there. Of neuralforecast, the
    scaling of windows before the encoder and the decoder after it stay yours to compute.
    """
    from drnn_models.interop.convert import Choices
    from drnn_models.interop.state_dict import import_file

    console = make_console(json_path)
    with json_on_failure(json_path):
        imported = import_file(file, output, layout, Choices(**choices), force=force)
        write_json(json_path, {"passed": True, "checkpoint": str(output), **_facts(imported)})
    _show(console, file, output, imported)


def _facts(imported: Imported) -> dict[str, Any]:
    return {
        "spec": imported.spec.to_json(),
        "weights": imported.origins,
        "ignored": imported.ignored,
        "notes": imported.notes,
    }


def _show(console: Console, file: Path, output: Path, imported: Imported) -> None:
    from rich.table import Table

    table = Table()
    for title in ("weight", "shape", "from"):
        table.add_column(title, overflow="fold")
    for name, origin in imported.origins.items():
        stand_in = "(identity)" if name == "head.weight" else "(zeros)"
        shown = stand_in if origin is None else origin
        table.add_row(name, " x ".join(map(str, imported.weights[name].shape)), shown)
    console.print(table)
    for name in imported.ignored:
        console.print(f"ignored  {name}")
    spec = imported.spec
    console.print(f"network  {spec.cell}, hidden {list(spec.hidden)}, dilations {list(spec.dilations)}")
    console.print(f"         input {spec.input}, head {spec.head}")
    for note in imported.notes:
        console.print(f"note     {note}")
    console.print(f"wrote    {output}, from {file}; next: drnn-export {output} --length STEPS")
