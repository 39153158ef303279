"""What the weights of a network do not say, and what is assumed of it or asked for."""

from __future__ import annotations

import dataclasses

from drnn_core.arguments import checked_fields
from drnn_core.errors import InputError
from drnn_models.cells import CELLS, Activation, Cell, Reset
from drnn_models.interop.layouts import PROVE, Layout, either, placeholders
from drnn_models.spec import Head, HeadKind

SAVE_CHECKPOINT = "save_checkpoint('model.pt', network)"


@checked_fields
@dataclasses.dataclass(frozen=True)
class Choices:
    """What the weights do not say.

    Attributes:
        dilations: One per layer; None for the layout's own (zalando 1, 2, 4, ...; one module of torch 1, 1, ...).
        activation: The nonlinearity of an RNN; None for torch's own, tanh.
        head: Which steps have an output; None for what the file says, or else every step.
        steps: How many of the last steps have one, with head `last_k`.
        head_weight: The head's name in the file.
        embedding: The embedding's name in the file.
        ignore: Shell patterns of names to leave out on purpose.
        layers: With layout torch, the names of the recurrent modules that are the stack, bottom first.
        reset: Where a GRU resets; None for torch's own, after the recurrent product, or with layout drnn for what a
            comparison shows.
        one_hot: Whether the input is tokens that the first layer reads as one-hot vectors.
    """

    dilations: tuple[int, ...] | None = None
    activation: Activation | None = None
    head: HeadKind | None = None
    steps: int | None = None
    head_weight: str | None = None
    embedding: str | None = None
    ignore: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    reset: Reset | None = None
    one_hot: bool = False

    def head_of(self, outputs: int) -> Head:
        """The head, with so many outputs.

        Raises:
            InputError: It needs to know a number of steps.
        """
        if self.head == "last_k" and self.steps is None:
            raise InputError("head last_k needs to know how many of the last steps have an output", "Add --steps K.")
        return Head(self.head or "sequence", outputs, self.steps or 1)


def settle(choices: Choices, layout: Layout, cell: Cell, layers: list[dict[str, str]]) -> Choices:
    """Fill in what the layout says, and ask for what nothing says.

    Args:
        choices: What was said.
        layout: How the names are written.
        cell: The cell of the layers.
        layers: The names of each layer's weights, see `layouts.find_layers`.

    Returns:
        Choices with dilations, activation and head.

    Raises:
        InputError: Something is missing. The advice says what to add.
    """
    if choices.dilations is not None and len(choices.dilations) != len(layers):
        raise InputError(
            f"there are {len(choices.dilations)} dilations for {len(layers)} layers", "Give --dilations one per layer."
        )
    if layout == "drnn":
        _ask(choices, cell, len(layers))
    return dataclasses.replace(
        choices,
        dilations=choices.dilations or _dilations(layout, layers),
        activation=choices.activation or "tanh",
        head=choices.head or "sequence",
    )


def modules(layers: list[dict[str, str]]) -> list[str]:
    """The modules that hold the layers, bottom first."""
    return list(dict.fromkeys(names["weight_ih"].rpartition(".")[0] for names in layers))


def _dilations(layout: Layout, layers: list[dict[str, str]]) -> tuple[int, ...]:
    if layout == "zalando":
        return tuple(2**layer for layer in range(len(layers)))
    if layout == "torch" and len(modules(layers)) == 1:
        return (1,) * len(layers)
    if layout == "torch":
        raise InputError(
            f"it holds {len(modules(layers))} recurrent modules, and does not say their dilations",
            either([name for names in layers for name in names.values()])
            or "If they run one after the other in the order of their numbers, each over every step, type: "
            f"--dilations {','.join('1' * len(layers))} {PROVE}",
        )
    raise InputError(
        f"the weights do not say the dilations of their {len(layers)} layers",
        f"Type those that the model was made with, bottom first: --dilations {placeholders(len(layers))}",
    )


def _ask(choices: Choices, cell: Cell, layers: int) -> None:
    """Ask at once for all that a `DilatedRNN`'s state dict leaves out."""
    missing = []
    if choices.dilations is None:
        missing.append(f"--dilations {placeholders(layers)}")
    if choices.head is None:
        missing.append("--head last|last_k|sequence")
    if choices.activation is None and len(CELLS[cell].activations) > 1:
        missing.append(f"--activation {'|'.join(CELLS[cell].activations)}")
    if missing and choices.reset is None and len(CELLS[cell].resets) > 1:  # which alone a comparison decides
        missing.append(f"--reset {'|'.join(CELLS[cell].resets)}")
    if missing:
        raise InputError(
            "the weights are those of this project's DilatedRNN, and its spec is not in the file",
            f"Type what network.spec says, the dilations bottom first: --layout drnn {' '.join(missing)}\n"
            "If they are a list of your own, run one after the other over every step, type: "
            f"--layout drnn --dilations {','.join('1' * layers)} {PROVE}\n"
            f"Or save a checkpoint, which needs no import: {SAVE_CHECKPOINT}",
        )
