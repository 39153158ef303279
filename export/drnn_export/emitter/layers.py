"""A dilated layer as ONNX nodes around one or two runs of its cell: fold, run, unfold; with a state, also its update.

Time-major (steps, B, features) between layers, batch-first (B, rows, H) in states.
"""

from __future__ import annotations

from collections.abc import Sequence

from drnn_export.emitter.builder import GraphBuilder
from drnn_export.emitter.cells import LayerWeights, fused_layer, unrolled_layer
from drnn_export.emitter.request import GraphRequest
from drnn_models.cone import LayerPlan, as_slice
from drnn_models.spec import ModelSpec

_PARTS = "hc"


def sequence_layer(
    g: GraphBuilder,
    spec: ModelSpec,
    weights: LayerWeights,
    layer: LayerPlan,
    request: GraphRequest,
    x: str,
    length: int,
) -> tuple[str, int]:
    """A layer from a zero state, of which only the planned steps are computed.

    x: (length, B, C). Returns (cells * fold, B, H) and its length; rows past `layer.steps` are padding, which reaches
    no earlier output and is left in place for the layers above.
    """
    name = weights.name
    if layer.select is not None:
        kept = as_slice(layer.select)
        selected = f"{name}/select"
        x = g.take(x, kept.start, kept.stop, kept.step, selected) if kept else g.gather(x, layer.select, selected)
        length = layer.steps
    full = layer.cells * layer.fold
    if length < full:
        x = g.pad(x, 0, full - length, f"{name}/pad")
    elif length > full:
        x = g.take(x, 0, full, 1, f"{name}/trim")
    y, _ = _run(g, spec, weights, request, x, (layer.cells, layer.fold), name)
    return y, full


def stateful_layer(
    g: GraphBuilder,
    spec: ModelSpec,
    weights: LayerWeights,
    request: GraphRequest,
    dilation: int,
    x: str,
    states: Sequence[tuple[str, str]],
) -> str:
    """A layer from its delay lines, and their update. x: (n, B, C). Returns (n, B, H).

    states: (input, output) names of the delay lines h, for an LSTM also c: (B, dilation, H), oldest first. n steps are
    n // d folded steps, and one more on the first rows for the n % d that do not fill one. With `request.ring` and
    n < d, a state holds only the n oldest rows, and its output the n newest, which take their place.
    """
    full, rest = divmod(request.steps, dilation)
    if not full:
        return _within_the_line(g, spec, weights, request, dilation, x, states)
    name, hidden = weights.name, weights.hidden
    used = g.take(x, 0, full * dilation, 1, f"{name}/whole") if rest else x
    initial = [_time_major(g, request, before, dilation, hidden) for before, _ in states]
    y, cell = _run(g, spec, weights, request, used, (full, dilation), name, initial)
    last = g.take(y, (full - 1) * dilation, full * dilation, 1, f"{name}/last") if full > 1 else y
    lines = [last, cell][: len(states)]  # (d, B, H)
    if rest:
        x = g.take(x, full * dilation, request.steps, 1, f"{name}/rest_of_input")
        initial = [g.take(line, 0, rest, 1, f"{name}/oldest_{p}") for p, line in zip(_PARTS, lines, strict=False)]
        more, cell = _run(g, spec, weights, request, x, (1, rest), f"{name}/rest", initial)
        for index, new in enumerate([more, cell][: len(states)]):
            kept = g.take(lines[index], rest, dilation, 1, f"{name}/kept_{_PARTS[index]}")
            lines[index] = g.node("Concat", [kept, new], f"{name}/line_{_PARTS[index]}", axis=0)
        y = g.node("Concat", [y, more], f"{name}/all", axis=0)
    for line, (_, after) in zip(lines, states, strict=True):
        _batch_first(g, request, line, dilation, hidden, after)
    return y


def _within_the_line(
    g: GraphBuilder,
    spec: ModelSpec,
    weights: LayerWeights,
    request: GraphRequest,
    dilation: int,
    x: str,
    states: Sequence[tuple[str, str]],
) -> str:
    """N < d: one batched cell on the n oldest rows of the delay lines."""
    name, steps, hidden = weights.name, request.steps, weights.hidden
    oldest = [
        before if request.ring else g.take(before, 0, steps, 1, f"{name}/oldest_{part}", axis=1)
        for part, (before, _) in zip(_PARTS, states, strict=False)
    ]
    initial = [_time_major(g, request, line, steps, hidden) for line in oldest]
    y, cell = _run(g, spec, weights, request, x, (1, steps), name, initial)
    for part, new, (before, after) in zip(_PARTS, (y, cell), states, strict=False):
        if request.ring:
            _batch_first(g, request, new, steps, hidden, after)
        else:
            kept = g.take(before, steps, dilation, 1, f"{name}/kept_{part}", axis=1)
            new = _batch_first(g, request, new, steps, hidden, f"{name}/new_{part}")
            g.node("Concat", [kept, new], f"{name}/line_{part}", output=after, axis=1)
    return y


def _run(
    g: GraphBuilder,
    spec: ModelSpec,
    weights: LayerWeights,
    request: GraphRequest,
    x: str,
    shape: tuple[int, int],
    name: str,
    initial: Sequence[str] = (),
) -> tuple[str, str]:
    """Run the cell over `shape` = (cells, fold) folded steps. x: (cells * fold, B, C). initial: (fold, B, H) each.

    Returns the outputs (cells * fold, B, H) and, of an LSTM with a state, the last c (fold, B, H).
    """
    (cells, fold), batch, hidden = shape, request.rows, weights.hidden
    rows = batch if batch < 0 else fold * batch
    if request.fuses(spec, cells):
        x = g.reshape(x, (cells, rows, weights.features), f"{name}/fold") if fold > 1 else x
        initial = [g.reshape(line, (1, rows, hidden), f"{line}/fold") for line in initial]
        y, cell = fused_layer(g, spec, weights, x, name, initial)
    else:
        x = g.reshape(x, (cells * rows, weights.features), f"{name}/fold")
        initial = [g.reshape(line, (rows, hidden), f"{line}/fold") for line in initial]
        y, cell = unrolled_layer(g, spec, weights, x, cells, rows, name, initial)
    y = g.reshape(y, (cells * fold, batch, hidden), f"{name}/unfold")
    return y, g.reshape(cell, (fold, batch, hidden), f"{name}/unfold_c") if cell and initial else ""


def _time_major(g: GraphBuilder, request: GraphRequest, value: str, rows: int, hidden: int) -> str:
    """(B, rows, H) -> (rows, B, H)."""
    if 1 in (rows, request.batch):
        return g.reshape(value, (rows, request.rows, hidden), f"{value}/time_major")
    return g.node("Transpose", [value], f"{value}/time_major", perm=[1, 0, 2])


def _batch_first(g: GraphBuilder, request: GraphRequest, value: str, rows: int, hidden: int, output: str) -> str:
    """(rows, B, H) -> (B, rows, H), called `output`."""
    if 1 in (rows, request.batch):
        return g.reshape(value, (request.rows, rows, hidden), output, keep=True)
    return g.node("Transpose", [value], output, perm=[1, 0, 2])
