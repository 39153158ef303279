"""The lint rules for shapes that ONNX's inference leaves unchecked and no table of sizes can say.

What the parser or the compiler of TensorRT-RTX 1.7.1 refuses of the sizes that ONNX allows is here too
(tests/export/lint/test_confusion.py holds both against them). A size of -1 is a free axis, of which nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from drnn_export.lint.graph_view import Site
from drnn_export.lint.sizes import FIX, differ, shapes
from drnn_export.lint.tables import Finding, Table
from drnn_export.lint.window_rules import WINDOW_RULES

_Rule = Callable[[Site, Table], Iterator[Finding]]


def _blocks(site: Site, table: Table) -> Iterator[Finding]:
    """DepthToSpace and SpaceToDepth: whole blocks."""
    (data,), size = shapes(site, 0), site.attribute("blocksize")
    if not isinstance(size, int) or data is None or len(data) != 4:
        return
    cut, by = (data[1], size * size) if site.node.op_type == "DepthToSpace" else (math.gcd(*data[2:]), size)
    if size > 0 and min(data[1:]) >= 0 and cut % by:
        yield site.error("size", f"{list(data)} does not divide into blocks of {size}", FIX)


def _split(site: Site, table: Table) -> Iterator[Finding]:
    """Parts of equal size, as many as outputs, the last of which must not be smaller than nothing."""
    (data, given), parts = shapes(site, 0, 1), site.attribute("num_outputs")
    if given and differ(given[0], len(site.node.output)):
        yield site.error("size", f"{given[0]} sizes for {len(site.node.output)} outputs", FIX)
    axis = site.attribute("axis") or 0
    if isinstance(parts, int) and parts != len(site.node.output):
        yield site.error("attribute", f"num_outputs={parts}, and it has {len(site.node.output)} outputs", FIX)
    elif not isinstance(parts, int) or not data or not -len(data) <= axis < len(data) or data[axis] < 0 or parts < 1:
        return
    elif data[axis] - (parts - 1) * -(-data[axis] // parts) < 0:
        yield site.error("size", f"an axis of {data[axis]} does not give {parts} parts", FIX)


def _gather(site: Site, table: Table) -> Iterator[Finding]:
    data, indices = shapes(site, 0, 1)
    axis = site.attribute("axis") or 0
    if data and indices is not None and -len(data) <= axis < len(data) and data[axis] == 0 and math.prod(indices) > 0:
        yield site.error("size", f"axis {axis} of {list(data)} has nothing to gather", FIX)


def _gather_elements(site: Site, table: Table) -> Iterator[Finding]:
    data, indices = shapes(site, 0, 1)
    if not data or indices is None:
        return
    axis = (site.attribute("axis") or 0) % len(data)
    pairs = list(zip(data, indices, strict=False))
    if len(data) != len(indices) or any(0 <= size < index for size, index in pairs[:axis] + pairs[axis + 1 :]):
        what = f"indices {list(indices)} are to have the axes of {list(data)}, and no more places but along axis {axis}"
        yield site.error("size", what, FIX)


def _scatter_elements(site: Site, table: Table) -> Iterator[Finding]:
    data, indices, updates = shapes(site, 0, 1, 2)
    if data is None or indices is None or updates is None:
        return
    same = len(data) == len(indices) == len(updates) and not any(map(differ, indices, updates))
    if not same or any(0 <= size < index for size, index in zip(data, indices, strict=True)):
        what = f"indices {list(indices)} and updates {list(updates)} must be alike, and no larger than {list(data)}"
        yield site.error("size", what, FIX)


def _scatter_nd(site: Site, table: Table) -> Iterator[Finding]:
    data, indices, updates = shapes(site, 0, 1, 2)
    if data is None or not indices or updates is None or not 0 <= indices[-1] <= len(data):
        return
    wanted = (*indices[:-1], *data[indices[-1] :])
    if len(wanted) != len(updates) or any(map(differ, wanted, updates)):
        yield site.error("size", f"updates are {list(updates)}, and {list(wanted)} are asked for", FIX)


def _reverse_sequence(site: Site, table: Table) -> Iterator[Finding]:
    data, lengths = shapes(site, 0, 1)
    axis = site.attribute("batch_axis")
    axis = 1 if axis is None else axis
    if axis == (site.attribute("time_axis") or 0):
        yield site.error("attribute", f"batch_axis and time_axis are both {axis}", "Name two axes")
    if data and lengths and 0 <= axis < len(data) and differ(data[axis], lengths[0]):
        yield site.error("size", f"{lengths[0]} lengths for a batch of {data[axis]}", FIX)


def _rotary(site: Site, table: Table) -> Iterator[Finding]:
    data, places = shapes(site, 0, 3)
    if data and places and data[0] != places[0]:
        yield site.error("size", f"a batch of {data[0]} with positions for {places[0]} (-1: free)", FIX)
    steps = data[-2] if data and len(data) > 2 else -1
    for cache in shapes(site, 1, 2):
        if cache is not None and len(cache) != (2 if site.input(3) else 3):
            yield site.error("size", f"a cache of {len(cache)} axes: 2 with positions, 3 without", FIX)
        if not site.input(3) and cache and len(cache) == 3 and differ(cache[1], steps):
            yield site.error("size", f"a cache of {cache[1]} places for {steps} steps", FIX)
    if (site.attribute("rotary_embedding_dim") or 0) % 2:
        yield site.error("attribute", "rotary_embedding_dim is odd", "Use an even number")


def _stft(site: Site, table: Table) -> Iterator[Finding]:
    if not site.input(2) and not site.input(3):
        yield site.error("input", "it has neither a window nor a frame_length", "Give it one of them")
    (data, window), frame = shapes(site, 0, 2), site.scope.value_of(site.input(3))
    long = window[0] if window else int(frame.ravel()[0]) if frame is not None and frame.size else 0
    if data and len(data) > 1 and 0 <= data[1] < long:
        yield site.error("size", f"frames of {long} samples of a signal of {data[1]}", FIX)


def _transpose(site: Site, table: Table) -> Iterator[Finding]:
    (data,), order = shapes(site, 0), site.attribute("perm")
    if data is not None and order is not None and sorted(order) != list(range(len(data))):
        yield site.error("attribute", f"perm={order} is no order of {len(data)} axes", "Name each axis once")


def _tile(site: Site, table: Table) -> Iterator[Finding]:
    data, repeats = shapes(site, 0, 1)
    if data is not None and repeats and differ(repeats[0], len(data)):
        yield site.error("size", f"{repeats[0]} repeats for data of {len(data)} axes", FIX)


def _empty(site: Site, table: Table) -> Iterator[Finding]:
    (data,) = shapes(site, 0)
    if data is not None and 0 in data:
        what = f"it reduces {list(data)}, without elements, of which TensorRT and ONNX Runtime make different things"
        yield site.error("empty-reduction", what, "Leave it out")


def _mean_variance(site: Site, table: Table) -> Iterator[Finding]:
    (data,) = shapes(site, 0)
    if data is not None and not site.has("axes") and len(data) < 4:
        yield site.error("size", f"data of {len(data)} axes, and the mean is over axes 0, 2 and 3", "Give it axes")


def _reshape(site: Site, table: Table) -> Iterator[Finding]:
    """As many elements after as before."""
    (data,), target = shapes(site, 0), site.scope.value_of(site.input(1))
    if data is None or target is None or target.ndim != 1 or -1 in data:
        return
    sizes = [int(size) for size in target]
    if not site.attribute("allowzero"):
        sizes = [data[axis] if size == 0 and axis < len(data) else size for axis, size in enumerate(sizes)]
    known, count = math.prod(size for size in sizes if size != -1), math.prod(data)
    if min(sizes, default=0) < -1 or (count % known if -1 in sizes and known else count != known and -1 not in sizes):
        yield site.error("size", f"{list(data)} has {count} elements, and {target.tolist()} has another number", FIX)


def _normalised(site: Site, table: Table) -> Iterator[Finding]:
    (data,) = shapes(site, 0)
    if data and len(data) > 2 and math.prod(data[2:]) == 1:
        yield site.error("size", f"the mean of one element: the data is {list(data)}", "Leave the operator out")


def _group_scales(site: Site, table: Table) -> Iterator[Finding]:
    """Groups of equal size; one scale for each channel, and before opset 21 one for each group."""
    data, *scales = shapes(site, 0, 1, 2)
    groups, channels = site.attribute("num_groups"), data[1] if data and len(data) > 1 else -1
    if isinstance(groups, int) and (groups < 1 or (channels > 0 and channels % groups)):
        yield site.error("size", f"{channels} channels are not divided into {groups} groups", FIX)
    wanted = channels if site.scope.opset >= 21 else groups
    for scale in scales:
        if scale is not None and isinstance(wanted, int) and (len(scale) != 1 or differ(scale[0], wanted)):
            yield site.error("size", f"{list(scale)} scales or biases, and {wanted} are asked for", FIX)


def _quantised_axis(site: Site, table: Table) -> Iterator[Finding]:
    """A scale for each place along an axis, and a zero point for each scale."""
    data, scale, zero = shapes(site, 0, 1, 2)
    if scale is None or data is None:
        return
    if zero is not None and differ(math.prod(scale), math.prod(zero)) and -1 not in (*scale, *zero):
        yield site.error("size", f"scales {list(scale)} and zero points {list(zero)}", FIX)
    if len(scale) not in (0, 1, len(data)):
        yield site.error("size", f"scales of {len(scale)} axes for data of {len(data)}", FIX)
    axis = site.attribute("axis")
    axis = 1 if axis is None else axis
    if len(scale) != 1 or scale[0] == 1:
        return
    if not -len(data) <= axis < len(data) or differ(data[axis], scale[0]):
        yield site.error("size", f"{scale[0]} scales along axis {axis} of {list(data)}", FIX)
    elif data[axis] < 0:
        what = f"axis {axis} is free, and there are {scale[0]} scales"
        yield site.error("frozen", what, "Fix the axis, or use one scale")


def _slice(site: Site, table: Table) -> Iterator[Finding]:
    """Backwards to the largest number: to ONNX and the parsers nothing, to ONNX Runtime everything."""
    ends, steps = (site.scope.value_of(site.input(index)) for index in (2, 4))
    if ends is None or steps is None or ends.shape != steps.shape or steps.dtype.kind != "i":
        return
    if any(
        step < 0 and end >= 2**31 - 1 for end, step in zip(ends.ravel().tolist(), steps.ravel().tolist(), strict=True)
    ):
        what = "it goes backwards to the largest number, which is nothing to TensorRT and everything to ONNX Runtime"
        yield site.error("slice-end", what, "Use the smallest number as the end, -9223372036854775808")


def _pad(site: Site, table: Table) -> Iterator[Finding]:
    value = site.scope.value_of(site.input(1))
    amounts = [] if value is None or value.dtype.kind != "i" else value.ravel().tolist()
    half = len(amounts) // 2
    pairs = zip(amounts[:half], amounts[half:], strict=False)
    if site.attribute("mode") == "wrap" and any(before * after < 0 for before, after in pairs):
        what = "it wraps one end of an axis and cuts the other, which TensorRT and ONNX Runtime do differently"
        yield site.error("pad-wrap", what, "Cut with Slice first")


def _vector_product(site: Site, table: Table) -> Iterator[Finding]:
    left, right = shapes(site, 0, 1)
    if left is not None and right is not None and len(left) == 1 and any(size != 1 for size in right[:-2]):
        what = "a vector times a stack of matrices, which the parser reshapes wrongly"
        yield site.error("size", what, "Unsqueeze the vector to a matrix before, and squeeze after")


def _einsum(site: Site, table: Table) -> Iterator[Finding]:
    """A letter stands for one size, or for 1."""
    equation = site.attribute("equation")
    terms = equation.replace(" ", "").partition("->")[0].split(",") if isinstance(equation, str) else []
    sizes: dict[str, set[int]] = {}
    for term, shape in zip(terms, shapes(site, *range(len(terms))), strict=True):
        if shape is not None and len(shape) == len(term) and "." not in term:
            for letter, size in zip(term, shape, strict=True):
                sizes.setdefault(letter, set()).add(size)
    for letter, several in sizes.items():
        if differ(*(several - {1})):
            yield site.error("size", f"{letter!r} in {equation!r} stands for {sorted(several - {-1})}", FIX)


def _frozen(site: Site, table: Table) -> Iterator[Finding]:
    """A free axis of one operand against a size of another: it works for that size alone."""
    shapes = [(name, shape) for name in site.node.input if (shape := site.scope.shape_of(name))]
    for depth in range(1, max((len(shape) for _, shape in shapes), default=0) + 1):
        column = [(name, shape[-depth], len(shape) - depth) for name, shape in shapes if len(shape) >= depth]
        free = [(name, axis) for name, size, axis in column if size < 0 and site.scope.is_free(name, axis)]
        fixed = [(name, axis, size) for name, size, axis in column if size > 1]
        if free and fixed:
            (name, axis, size), (other, open_axis) = fixed[0], free[0]
            what = f"axis {axis} of {name!r} is {size}, which fixes axis {open_axis} of {other!r}"
            fix = "Fix the size of the network's input too, or leave the other one free"
            yield site.error("frozen", what, fix)


_ELEMENTWISE = (
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod"),
    *("Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor"),
)


def broadcasts(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a tensor of this shape broadcasts to the wanted one, as far as sizes are known.

    Args:
        shape: The sizes of its axes; negative ones are unknown.
        wanted: Likewise.
    """
    if len(shape) > len(wanted):
        return False
    pairs = zip(reversed(shape), reversed(wanted), strict=False)
    return all(size == 1 or not differ(size, want) for size, want in pairs)


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
SHAPE_RULES: dict[str, tuple[_Rule, ...]] = {
    **{f"Reduce{name}": (_empty,) for name in _REDUCTIONS},
    **dict.fromkeys(_ELEMENTWISE, (_frozen,)),
    **WINDOW_RULES,
    "DepthToSpace": (_blocks,),
    "DequantizeLinear": (_quantised_axis,),
    "Einsum": (_einsum,),
    "Gather": (_gather,),
    "GatherElements": (_gather_elements,),
    "GroupNormalization": (_group_scales, _normalised),
    "InstanceNormalization": (_normalised,),
    "MatMul": (_vector_product,),
    "MeanVarianceNormalization": (_mean_variance,),
    "Pad": (_pad,),
    "QuantizeLinear": (_quantised_axis,),
    "Reshape": (_reshape,),
    "ReverseSequence": (_reverse_sequence,),
    "RotaryEmbedding": (_rotary,),
    "STFT": (_stft,),
    "Scatter": (_scatter_elements,),
    "ScatterElements": (_scatter_elements,),
    "ScatterND": (_scatter_nd,),
    "Slice": (_slice,),
    "SpaceToDepth": (_blocks,),
    "Split": (_split,),
    "Tile": (_tile,),
    "Transpose": (_transpose,),
}
