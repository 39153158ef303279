"""The lint rules for RNN, GRU and LSTM, beyond types and sizes: which the parsers read otherwise, or never compile.

Facts are in `tables.toml`, under [recurrent]. What the parsers compute was seen in the networks that they make, beside
ONNX Runtime (tests/export/lint/test_numbers.py repeats it).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from drnn_export.lint.graph_view import Site
from drnn_export.lint.tables import Finding, Recurrent, Table

_DATA, _LENGTHS, _STATES = 0, 4, (5, 6)  # inputs


def layout(site: Site, table: Table) -> Iterator[Finding]:
    """Batch-first recurrence: the parsers read the first axis as time whatever the attribute says.

    Args:
        site: The node, and what is known of its tensors.
        table: What the target takes.
    """
    if site.attribute("layout") == 1:
        what = "has layout=1, which TensorRT reads as time-major"
        yield site.error("layout", what, "Export it time-major, with a Transpose before and after")


def _clip(site: Site, table: Table) -> Iterator[Finding]:
    """A bound that is none, and the LSTM's, of which the parsers leave a part out."""
    bound = site.attribute("clip")
    if not isinstance(bound, float) or site.node.op_type == "RNN":
        return
    if not bound > 0:
        yield site.error("attribute", f"clip={bound:g} is no bound above zero", "Leave it out")
    elif site.node.op_type == "LSTM":
        what = "has clip, which TensorRT does not apply where ONNX Runtime does: to what enters the last activation"
        yield site.error("clip", what, "Export it without clip, or write the cell out with Clip")


def _lengths(site: Site, table: Table) -> Iterator[Finding]:
    """Lengths outside the sequence: the parsers take them, and read past its end or nothing."""
    value, shape = site.scope.value_of(site.input(_LENGTHS)), site.scope.shape_of(site.input(_DATA))
    if value is None or value.dtype.kind != "i" or not value.size or not shape or shape[0] < 0:
        return
    odd = [length for length in value.ravel().tolist() if not 0 <= length <= shape[0]]
    if odd:
        what = f"sequence_lens ({site.input(_LENGTHS)!r}) has {odd[0]}, and the sequences have {shape[0]} steps"
        yield site.error("size", what, "Give lengths from 1 to the number of steps")
    elif not value.all() and any(site.input(index) for index in _STATES):
        what = "sequence_lens has 0, after which TensorRT has the initial state and ONNX Runtime zeros"
        yield site.error("empty-sequence", what, "Leave empty sequences out of the batch")


def _activations(site: Site, table: Table) -> Iterator[Finding]:
    """Activation functions that the parsers do not know, mix up, or compute without their parameters."""
    names = site.attribute("activations")
    if not isinstance(names, list):
        return
    known = table.recurrent
    directions = 2 if site.attribute("direction") == "bidirectional" else 1
    applied = known.per_direction[site.node.op_type]
    count = len(applied)
    if unknown := [name for name in names if name not in known.activations]:
        of = ", ".join(sorted(known.activations))
        yield site.error("activation", f"activation {unknown[0]!r} is unknown to TensorRT", f"Use one of: {of}")
        return
    if len(names) != count * directions:
        what = f"{len(names)} activations are given for {directions} direction(s) of {count}"
        yield site.error("activation", what, "Give one for each gate and direction")
        return
    functions = _with_parameters(site, names, known)
    if functions[:count] != functions[-count:]:
        what = "both directions of a bidirectional layer must have the same activations, with the same parameters"
        yield site.error("activation", what, "Use the same activations, or two layers of one direction")
    for name, *parameters in functions:
        needs = known.no_default.get(name, ())
        if name in known.misread or any(parameters[_PARAMETERS.index(need)] is None for need in needs):
            without = f" without {' and '.join(needs)}" if needs else ""
            fix = f"Give it {' and '.join(needs)}" if needs else "Write the cell out with other operators"
            yield site.error("activation-value", f"TensorRT computes {name}{without} as something else", fix)
            return
    for name in known.once:
        if sum(times for times, other in zip(applied, names, strict=False) if other == name) > 1:
            what = f"the compiler does not take {name} for more than one function of a step"
            yield site.error("activation", what, "Use another, or write the cell out")


_PARAMETERS = ("activation_alpha", "activation_beta")


def _with_parameters(
    site: Site, names: Sequence[str], known: Recurrent
) -> list[tuple[str, float | None, float | None]]:
    """Each activation with its alpha and beta: the next of the list for those that have one, None if none is left."""
    given = {name: list(site.attribute(name) or ()) for name in _PARAMETERS}
    functions = []
    for name in names:
        alpha, beta = (
            given[parameter].pop(0) if name in known.parameters[parameter] and given[parameter] else None
            for parameter in _PARAMETERS
        )
        functions.append((name, alpha, beta))
    return functions


def _endless(site: Site, table: Table) -> Iterator[Finding]:
    """A recurrence of one row that the compiler unrolls without end."""
    shape, hidden = site.scope.shape_of(site.input(_DATA)), site.attribute("hidden_size")
    if table.target != "tensorrt-rtx" or not shape or len(shape) != 3 or not isinstance(hidden, int):
        return
    known, operator = table.recurrent, site.node.op_type
    least, most = known.endless_hidden
    is_small = shape[1] == 1 and not 0 <= shape[0] < known.endless_steps and least <= hidden <= most
    resets_first = operator == "GRU" and not site.attribute("linear_before_reset")
    is_odd = operator != "RNN" and (site.has("activations") or bool(site.input(_LENGTHS)))  # of which some do not end
    if is_small and (resets_first or is_odd):
        what = f"with one row, {hidden} hidden units and {known.endless_steps} steps or more, the compiler does not end"
        yield site.error("endless", what, "Build it for a batch of two, or unroll the steps")


RECURRENT_RULES = (_clip, _lengths, _activations, _endless)
