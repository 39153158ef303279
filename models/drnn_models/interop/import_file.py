"""`import_file`: a network that other PyTorch code trained, from its file to a checkpoint of this project."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError, ParityError
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.interop.choices import Choices
from drnn_models.interop.convert import UNSEEN, Imported, import_weights
from drnn_models.interop.layouts import Layout, choose_layout
from drnn_models.interop.state_dict import StateDict, read_state_dict
from drnn_models.spec import ModelSpec, Tokens

_FROM_SPEC = ("dilations", "activation", "head", "steps", "reset", "one_hot")


@checked_arguments
def import_file(
    path: Path | str,
    output: Path | str,
    layout: Layout | None = None,
    choices: Choices | None = None,
    *,
    force: bool = False,
    check: Callable[[Imported], object] | None = None,
) -> Imported:
    """Import a network that other PyTorch code trained, from file to file.

    A state dict does not show what a module does without weights. `drnn_deploy.import_network` compares the network
    with saved outputs of the original; this function alone does not.

    Args:
        path: The file with its weights.
        output: The checkpoint to write.
        layout: How the names of the weights are written; None where they show it.
        choices: What the weights do not say.
        force: Whether `output` may be replaced.
        check: Proves that the network is the original, or raises. It is called before anything is written.

    Returns:
        The network.

    Raises:
        InputError: The file cannot be imported, or `output` exists and `force` is not set. Without `check`: the
            network may be another than the original, although every weight has its place.
    """
    path, output = Path(path), Path(output)
    if output.exists() and path.exists() and output.samefile(path):
        raise InputError(f"{output} is the file to import", "Choose another --output.")
    if output.exists() and not force:
        raise InputError(f"{output} exists already", "Choose another --output, or replace it with --force.")
    state = read_state_dict(path)
    try:
        layout = layout or choose_layout(state.arrays)
        chosen, said = _with_what_the_file_says(choices or Choices(), state, layout)
        imported = import_weights(state.arrays, layout, chosen)
        if imported.doubts and check is None:
            raise imported.doubts[0]
    except InputError as error:
        advice = error.fix or "Correct the options, see drnn-deploy import --help, or save the state dict again."
        raise InputError(f"{path}: {error.message}", advice) from error
    if said:
        imported.notes.append(f"{said} those that the file says; others: --dilations")
    if check is not None:
        imported = _proven(path, imported, check)
        imported.notes.remove(UNSEEN)
    assumed: dict[str, str] = {"activation": imported.spec.activation, "head": imported.spec.head.kind}
    if imported.alternatives:
        assumed["reset"] = imported.spec.reset
    given = {name: value for name, value in dataclasses.asdict(chosen).items() if value not in (None, (), False)}
    provenance = {"imported_from": layout, "file": path.name, "options": assumed | given}
    save_checkpoint(output, Checkpoint(imported.spec, imported.weights, provenance=provenance))
    return imported


def _proven(path: Path, imported: Imported, check: Callable[[Imported], object]) -> Imported:
    """The one of the networks that the weights can be which passes the check."""
    fitting: list[ModelSpec] = []
    failures: list[ParityError] = []
    for spec in (imported.spec, *imported.alternatives):
        try:
            check(dataclasses.replace(imported, spec=spec))
        except ParityError as error:
            failures.append(error)
        else:
            fitting.append(spec)
    if not fitting:
        raise failures[0]
    if len(fitting) > 1:
        raise InputError(
            f"{path}: the outputs of the original do not tell where its GRU resets",
            "Type what network.spec says: --reset after or --reset before.",
        )
    if imported.alternatives:
        imported.notes.append(f"the reset is {fitting[0].reset} the recurrent product, as the original's outputs show")
    return dataclasses.replace(imported, spec=fitting[0])


def _with_what_the_file_says(choices: Choices, state: StateDict, layout: Layout) -> tuple[Choices, str]:
    """Fill in what stands beside the weights where nothing was said; and what that was, for a note."""
    if layout == "neuralforecast" and choices.dilations is None and state.dilations is not None:
        return dataclasses.replace(choices, dilations=state.dilations), "dilations are"
    if layout != "drnn" or state.spec is None:
        return choices, ""
    from_spec = _choices_of(state.spec)
    if choices.head is not None:
        from_spec = dataclasses.replace(from_spec, steps=None)
    missing = {name: getattr(from_spec, name) for name in _FROM_SPEC if not getattr(choices, name)}
    return dataclasses.replace(choices, **missing), "dilations, cell and head are"


def _choices_of(spec: ModelSpec) -> Choices:
    return Choices(
        spec.dilations,
        spec.activation,
        spec.head.kind,
        spec.head.steps if spec.head.kind == "last_k" else None,
        reset=spec.reset,
        one_hot=isinstance(spec.input, Tokens) and spec.input.embedding is None,
    )
