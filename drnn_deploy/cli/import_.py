"""`drnn-deploy import FILE`."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_core.errors import refuse_ignored
from drnn_deploy.cli.command import command, typed_words
from drnn_deploy.cli.console import json_option, make_console, progress, show_next, write_json
from drnn_deploy.cli.tables import Column, print_table
from drnn_deploy.cli.values import InputFile, InputPath, OutputFile

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.importing.import_network import ImportResult
    from drnn_models.interop.convert import Imported


class _Dilations(click.ParamType[tuple[int, ...]]):
    name = "1,2,4"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        return tuple(click.IntRange(min=1).convert(part.strip(), param, ctx) for part in value.split(","))


@command("import")
@click.argument("file", type=InputFile("a file of weights: a state dict of torch.save or safetensors"))
@click.option(
    "--layout",
    type=click.Choice(["drnn", "zalando", "neuralforecast", "torch"]),
    help="Whose weight names the file has. [default: as the names show, where they do]",
)
@click.option("--output", type=OutputFile(), default="model.pt", show_default=True, help="The checkpoint to write.")
@click.option(
    "--compare",
    type=InputPath(),
    metavar="FILE.npz",
    help="Inputs and outputs of the original, which prove the import. Without it, the code that saves them is shown.",
)
@click.option(
    "--dilations",
    type=_Dilations(),
    help="One per layer, bottom first. [default: zalando 1,2,4,...; torch 1,1,... in one module; else asked for]",
)
@click.option("--activation", type=click.Choice(["tanh", "relu"]), help="Of an RNN cell. [default: tanh; drnn asks]")
@click.option(
    "--reset",
    type=click.Choice(["after", "before"]),
    help="Of a GRU, to its product. [default: after; drnn asks, or finds it by --compare]",
)
@click.option(
    "--head",
    type=click.Choice(["last", "last_k", "sequence"]),
    help="Which steps have an output. [default: sequence; drnn asks]",
)
@click.option("--steps", type=click.IntRange(min=1), help="How many last steps have one, with --head last_k.")
@click.option(
    "--layer",
    "layers",
    multiple=True,
    metavar="NAME",
    help="With layout torch: a recurrent module of the stack; repeat, bottom first. [default: the only one, or the "
    "numbers of a list]",
)
@click.option(
    "--head-weight",
    metavar="NAME",
    help="The matrix of the output layer. [default: the only one, if nothing else can be made of it; without any, the "
    "identity]",
)
@click.option("--embedding", metavar="NAME", help="The table that turns tokens into the first layer's input.")
@click.option("--one-hot", is_flag=True, help="The input is tokens, which the first layer reads as one-hot vectors.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="PATTERN",
    help="Weights that the outputs do not depend on, which --compare must prove; repeat.",
)
@click.option("--force", is_flag=True, help="Replace the output file.")
@json_option
def import_(
    file: Path,
    layout: Any,
    output: Path,
    compare: Path | None,
    force: bool,
    json_path: str | None,
    **choices: Any,
) -> None:
    """Turn a network that other PyTorch code trained into a checkpoint, model.pt.

    FILE is a state dict (torch.save or safetensors), alone or in a training checkpoint. Nothing in it is executed. The
    layouts:

    \b
    drnn            this project's own DilatedRNN: layers.0.weight_ih_l0, ..., head.weight
    zalando         zalandoresearch/pytorch-dilated-rnn: cells.0.weight_ih_l0, cells.1. ...
    neuralforecast  the encoder of Nixtla's DilatedRNN: rnn_stack.0.cells.0.weight_ih_l0, ...
    torch           nn.RNN, nn.GRU or nn.LSTM, any num_layers: weight_ih_l0, weight_ih_l1, ...; or a stack of them

    A state dict holds weights and not what is done with them: softmax, pooling, residual connections and activations
    leave no trace. So only --compare shows that the outputs are the original's: it runs the network in float64 on
    inputs that were saved with the original's outputs, and where they differ by more than rounding, nothing is written
    and the exit code is 1. What the weights leave open is asked for, never guessed.

    The network computes whole sequences of any length from a zero state, batch first, also where the original is
    time-major. It carries state through pieces of any lengths; zalando's DRNN cannot for LSTM, nor from a piece shorter
    than a dilation. Of neuralforecast only the encoder is imported, with --ignore 'context_adapter.*' --ignore
    'mlp_decoder.*': the scaling of windows before it and the decoder after it stay yours to compute.
    """  # noqa: D301  \b is the character by which click knows what not to wrap
    console, command = make_console(json_path), _with_comparison(click.get_current_context())
    refuse_ignored((choices["steps"] is not None and choices["head"] != "last_k", "--steps", "--head last_k"))
    from drnn_deploy.importing.import_network import import_network
    from drnn_models.interop.choices import Choices

    with progress(console) as notify:
        notify(f"importing {file}")
        result = import_network(file, output, layout, Choices(**choices), compare=compare, force=force)
    write_json(json_path, {"passed": True, "checkpoint": str(output), **_facts(result, command)})
    _show(console, file, output, result, command)


def _facts(result: ImportResult, command: str) -> dict[str, Any]:
    from drnn_deploy.importing.recorded import snippet

    imported, compared = result.imported, result.comparison
    return {
        "spec": imported.spec.to_json(),
        "weights": imported.origins,
        "ignored": imported.ignored,
        "notes": imported.notes,
        "comparison": None if compared is None else [dataclasses.asdict(case) for case in compared],
        "to_compare": None if compared else {"code": snippet(imported.spec), "command": command},
    }


def _with_comparison(context: click.Context) -> str:
    """The command that was typed, with a comparison."""
    words = typed_words(context, {"force"})
    return shlex.join(["drnn-deploy", "import", *words, "--force", "--compare", "original.npz"])


def _show(console: Console, file: Path, output: Path, result: ImportResult, command: str) -> None:
    from drnn_deploy.importing.recorded import snippet
    from drnn_deploy.reports.words import edge_words, network_words

    imported = result.imported
    _show_weights(console, imported)
    for name in imported.ignored:
        console.print(f"ignored  {name}")
    spec = imported.spec
    console.print(f"network  {network_words(spec)}")
    console.print(f"         {edge_words(spec)}")
    for note in imported.notes:
        console.print(f"note     {note}")
    for case in result.comparison or ():
        share = "" if case.compared == 1 else f"; {case.compared:.0%} of the outputs, rounding drowns the others"
        console.print(f"equal    {case.case}: {case.off}{share}")
    if result.comparison is None:
        code = snippet(spec).replace("\n", "\n             ")
        console.print(f"compare  where the original module is, as model, type:\n             {code}")
        console.print(f"         then here: {command}")
    console.print(f"wrote    {output}, from {file}")
    show_next(console, f"drnn-export {shlex.quote(str(output))} --length STEPS")


def _show_weights(console: Console, imported: Imported) -> None:
    rows = []
    for name, origin in imported.origins.items():
        stand_in = "(identity)" if name == "head.weight" else "(zeros)"
        shown = stand_in if origin is None else origin
        rows.append([name, " x ".join(map(str, imported.weights[name].shape)), shown])
    print_table(console, [Column("weight", kind="name"), Column("shape"), Column("from", kind="name")], rows)
