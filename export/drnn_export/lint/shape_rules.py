"""The lint rules for shapes that ONNX's inference leaves unchecked and no table of sizes can say.

What the parser or the compiler of TensorRT-RTX 1.7.1 refuses of the sizes that ONNX allows is here too
(tests/export/lint/test_confusion.py holds both against them). A size of -1 is a free axis, of which nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from drnn_export.lint.graph_view import Site
from drnn_export.lint.tables import Finding, Table

Shape = tuple[int, ...]
_Rule = Callable[[Site, Table], Iterator[Finding]]
_FIX = "Make the sizes fit"


def _differ(*sizes: int) -> bool:
    """Whether sizes that are known contradict each other."""
    return len({size for size in sizes if size >= 0}) > 1


def _shapes(site: Site, *inputs: int) -> list[Shape | None]:
    return [site.scope.shape_of(site.input(index)) if site.input(index) else None for index in inputs]


def _conv(site: Site, table: Table) -> Iterator[Finding]:
    """Groups, channels and the bias."""
    data, filters, bias = _shapes(site, 0, 1, 2)
    if data is None or filters is None:
        return
    if len(data) != len(filters) or len(data) < 3:
        yield site.error("size", f"data of {len(data)} axes and filters of {len(filters)}", _FIX)
        return
    transposed = site.node.op_type == "ConvTranspose"
    if -1 in (*data[2:], *filters) and not site.scope.is_constant(site.input(1)):
        what = "the filters are no initialiser, and axes besides batch and channels are free"
        yield site.error("input", what, "Make the filters an initialiser, or fix the axes")
    elif transposed and data[1] < 0:
        yield site.error("input", "the channels of the data are free", "Fix them")
    groups = site.attribute("group")
    groups = 1 if groups is None else groups
    if groups < 1 or min(filters[:2]) < 0:
        return  # `tables.toml` has the least number of groups
    channels, outputs = (filters[0], filters[1] * groups) if transposed else (filters[1] * groups, filters[0])
    if _differ(channels, data[1]) or filters[0] % groups:
        what = f"filters {list(filters)} with {groups} group(s) do not fit data of {data[1]} channels"
        yield site.error("size", what, _FIX)
    if bias is not None and (len(bias) != 1 or _differ(bias[0], outputs)):
        yield site.error("size", f"the bias is {list(bias)}, and there are {outputs} output channels", _FIX)
    kernel = site.attribute("kernel_shape")
    if kernel and (len(kernel) != len(filters) - 2 or any(map(_differ, kernel, filters[2:]))):
        yield site.error("size", f"kernel_shape is {kernel}, and the filters are {list(filters)}", _FIX)


def _window(site: Site, table: Table) -> Iterator[Finding]:
    """How a window moves over the data."""
    data, filters = _shapes(site, 0, 1)
    kernel = site.attribute("kernel_shape") or (filters and list(filters[2:])) or []
    axes, pad = len(kernel), site.attribute("auto_pad") or "NOTSET"
    pads, dilations, strides, more = (
        site.attribute(name) or [default] * count
        for name, default, count in (
            ("pads", 0, 2 * axes),
            ("dilations", 1, axes),
            ("strides", 1, axes),
            ("output_padding", 0, axes),
        )
    )
    if pad.startswith("SAME") and site.has("pads"):
        yield site.error("attribute", f"pads are not taken with auto_pad={pad}", "Leave one of them out")
    if site.node.op_type == "ConvTranspose":
        if any(add >= max(step, dilation) for add, step, dilation in zip(more, strides, dilations, strict=False)):
            yield site.error("attribute", f"output_padding={more} is not below the strides", "Use less")
    elif data and len(data) == axes + 2 == len(pads) // 2 + 2 and not pad.startswith("SAME"):
        padded = [size + before + after for size, before, after in zip(data[2:], pads[:axes], pads[axes:], strict=True)]
        reach = [dilation * (size - 1) + 1 for size, dilation in zip(kernel, dilations, strict=False)]
        is_short = any(size >= 0 and have < need for size, have, need in zip(data[2:], padded, reach, strict=False))
        if is_short and not site.attribute("ceil_mode"):
            yield site.error("size", f"a window of {reach} on padded data of {padded}", _FIX)


def _blocks(site: Site, table: Table) -> Iterator[Finding]:
    """DepthToSpace and SpaceToDepth: whole blocks."""
    (data,), size = _shapes(site, 0), site.attribute("blocksize")
    if not isinstance(size, int) or data is None or len(data) != 4:
        return
    cut, by = (data[1], size * size) if site.node.op_type == "DepthToSpace" else (math.gcd(*data[2:]), size)
    if size > 0 and min(data[1:]) >= 0 and cut % by:
        yield site.error("size", f"{list(data)} does not divide into blocks of {size}", _FIX)


def _split(site: Site, table: Table) -> Iterator[Finding]:
    """Parts of equal size, as many as outputs, the last of which must not be smaller than nothing."""
    (data,), parts = _shapes(site, 0), site.attribute("num_outputs")
    axis = site.attribute("axis") or 0
    if isinstance(parts, int) and parts != len(site.node.output):
        yield site.error("attribute", f"num_outputs={parts}, and it has {len(site.node.output)} outputs", _FIX)
    elif not isinstance(parts, int) or not data or not -len(data) <= axis < len(data) or data[axis] < 0 or parts < 1:
        return
    elif data[axis] - (parts - 1) * -(-data[axis] // parts) < 0:
        yield site.error("size", f"an axis of {data[axis]} does not give {parts} parts", _FIX)


def _gather(site: Site, table: Table) -> Iterator[Finding]:
    data, indices = _shapes(site, 0, 1)
    axis = site.attribute("axis") or 0
    if data and indices is not None and -len(data) <= axis < len(data) and data[axis] == 0 and math.prod(indices) > 0:
        yield site.error("size", f"axis {axis} of {list(data)} has nothing to gather", _FIX)


def _gather_elements(site: Site, table: Table) -> Iterator[Finding]:
    data, indices = _shapes(site, 0, 1)
    if not data or indices is None:
        return
    axis = (site.attribute("axis") or 0) % len(data)
    pairs = list(zip(data, indices, strict=False))
    if len(data) != len(indices) or any(0 <= size < index for size, index in pairs[:axis] + pairs[axis + 1 :]):
        what = f"indices {list(indices)} are to have the axes of {list(data)}, and no more places but along axis {axis}"
        yield site.error("size", what, _FIX)


def _scatter_elements(site: Site, table: Table) -> Iterator[Finding]:
    data, indices, updates = _shapes(site, 0, 1, 2)
    if data is None or indices is None or updates is None:
        return
    same = len(data) == len(indices) == len(updates) and not any(map(_differ, indices, updates))
    if not same or any(0 <= size < index for size, index in zip(data, indices, strict=True)):
        what = f"indices {list(indices)} and updates {list(updates)} must be alike, and no larger than {list(data)}"
        yield site.error("size", what, _FIX)


def _scatter_nd(site: Site, table: Table) -> Iterator[Finding]:
    data, indices, updates = _shapes(site, 0, 1, 2)
    if data is None or not indices or updates is None or not 0 <= indices[-1] <= len(data):
        return
    wanted = (*indices[:-1], *data[indices[-1] :])
    if len(wanted) != len(updates) or any(map(_differ, wanted, updates)):
        yield site.error("size", f"updates are {list(updates)}, and {list(wanted)} are asked for", _FIX)


def _reverse_sequence(site: Site, table: Table) -> Iterator[Finding]:
    data, lengths = _shapes(site, 0, 1)
    axis = site.attribute("batch_axis")
    axis = 1 if axis is None else axis
    if data and lengths and 0 <= axis < len(data) and _differ(data[axis], lengths[0]):
        yield site.error("size", f"{lengths[0]} lengths for a batch of {data[axis]}", _FIX)


def _rotary(site: Site, table: Table) -> Iterator[Finding]:
    data, places = _shapes(site, 0, 3)
    if data and places and data[0] != places[0]:
        yield site.error("size", f"a batch of {data[0]} with positions for {places[0]} (-1: free)", _FIX)
    steps = data[-2] if data and len(data) > 2 else -1
    for cache in _shapes(site, 1, 2):
        if not site.input(3) and cache and len(cache) == 3 and _differ(cache[1], steps):
            yield site.error("size", f"a cache of {cache[1]} places for {steps} steps", _FIX)
    if (site.attribute("rotary_embedding_dim") or 0) % 2:
        yield site.error("attribute", "rotary_embedding_dim is odd", "Use an even number")


def _stft(site: Site, table: Table) -> Iterator[Finding]:
    if not site.input(2) and not site.input(3):
        yield site.error("input", "it has neither a window nor a frame_length", "Give it one of them")


def _reshape(site: Site, table: Table) -> Iterator[Finding]:
    """As many elements after as before."""
    (data,), target = _shapes(site, 0), site.scope.value_of(site.input(1))
    if data is None or target is None or target.ndim != 1 or -1 in data:
        return
    sizes = [int(size) for size in target]
    if not site.attribute("allowzero"):
        sizes = [data[axis] if size == 0 and axis < len(data) else size for axis, size in enumerate(sizes)]
    known, count = math.prod(size for size in sizes if size != -1), math.prod(data)
    if min(sizes, default=0) < -1 or (count % known if -1 in sizes and known else count != known and -1 not in sizes):
        yield site.error("size", f"{list(data)} has {count} elements, and {target.tolist()} has another number", _FIX)


def _normalised(site: Site, table: Table) -> Iterator[Finding]:
    (data,) = _shapes(site, 0)
    if data and len(data) > 2 and math.prod(data[2:]) == 1:
        yield site.error("size", f"the mean of one element: the data is {list(data)}", "Leave the operator out")


def _group_scales(site: Site, table: Table) -> Iterator[Finding]:
    """Groups of equal size; one scale for each channel, and before opset 21 one for each group."""
    data, *scales = _shapes(site, 0, 1, 2)
    groups, channels = site.attribute("num_groups"), data[1] if data and len(data) > 1 else -1
    if isinstance(groups, int) and (groups < 1 or (channels > 0 and channels % groups)):
        yield site.error("size", f"{channels} channels are not divided into {groups} groups", _FIX)
    wanted = channels if site.scope.opset >= 21 else groups
    for scale in scales:
        if scale is not None and isinstance(wanted, int) and (len(scale) != 1 or _differ(scale[0], wanted)):
            yield site.error("size", f"{list(scale)} scales or biases, and {wanted} are asked for", _FIX)


def _quantised_axis(site: Site, table: Table) -> Iterator[Finding]:
    """A scale for each place along an axis, and a zero point for each scale."""
    data, scale, zero = _shapes(site, 0, 1, 2)
    if scale is None or data is None:
        return
    if zero is not None and _differ(math.prod(scale), math.prod(zero)) and -1 not in (*scale, *zero):
        yield site.error("size", f"scales {list(scale)} and zero points {list(zero)}", _FIX)
    axis = site.attribute("axis")
    axis = 1 if axis is None else axis
    if len(scale) != 1 or scale[0] == 1:
        return
    if not -len(data) <= axis < len(data) or _differ(data[axis], scale[0]):
        yield site.error("size", f"{scale[0]} scales along axis {axis} of {list(data)}", _FIX)
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
    left, right = _shapes(site, 0, 1)
    if left is not None and right is not None and len(left) == 1 and len(right) > 2:
        what = "a vector times a stack of matrices, which the parser reshapes wrongly"
        yield site.error("size", what, "Unsqueeze the vector to a matrix before, and squeeze after")


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
            yield site.finding("warning", "frozen", what, fix)


_ELEMENTWISE = (
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod"),
    *("Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor"),
)


def broadcasts(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a tensor of this shape broadcasts to the wanted one, as far as sizes are known."""
    if len(shape) > len(wanted):
        return False
    pairs = zip(reversed(shape), reversed(wanted), strict=False)
    return all(size == 1 or not _differ(size, want) for size, want in pairs)


SHAPE_RULES: dict[str, tuple[_Rule, ...]] = {
    **dict.fromkeys(_ELEMENTWISE, (_frozen,)),
    "AveragePool": (_window,),
    "Conv": (_conv, _window),
    "ConvTranspose": (_conv, _window),
    "DepthToSpace": (_blocks,),
    "DequantizeLinear": (_quantised_axis,),
    "Gather": (_gather,),
    "GatherElements": (_gather_elements,),
    "GroupNormalization": (_group_scales, _normalised),
    "InstanceNormalization": (_normalised,),
    "LpPool": (_window,),
    "MatMul": (_vector_product,),
    "MaxPool": (_window,),
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
}
