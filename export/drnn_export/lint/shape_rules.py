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
    groups = site.attribute("group")
    groups = 1 if groups is None else groups
    if groups < 1 or min(filters[:2]) < 0:
        return  # `tables.toml` has the least number of groups
    transposed = site.node.op_type == "ConvTranspose"
    channels, outputs = (filters[0], filters[1] * groups) if transposed else (filters[1] * groups, filters[0])
    if _differ(channels, data[1]) or filters[0] % groups:
        what = f"filters {list(filters)} with {groups} group(s) do not fit data of {data[1]} channels"
        yield site.error("size", what, _FIX)
    if bias is not None and (len(bias) != 1 or _differ(bias[0], outputs)):
        yield site.error("size", f"the bias is {list(bias)}, and there are {outputs} output channels", _FIX)
    if -1 in (*data[2:], *filters[2:]) and not site.scope.is_constant(site.input(1)):
        what = "the filters are no initialiser, and axes besides batch and channels are free"
        yield site.error("input", what, "Make the filters an initialiser, or fix the axes")


def _blocks(site: Site, table: Table) -> Iterator[Finding]:
    """DepthToSpace and SpaceToDepth: whole blocks."""
    (data,), size = _shapes(site, 0), site.attribute("blocksize")
    if not isinstance(size, int) or data is None or len(data) != 4:
        return
    cut, by = (data[1], size * size) if site.node.op_type == "DepthToSpace" else (math.gcd(*data[2:]), size)
    if size > 0 and min(data[1:]) >= 0 and cut % by:
        yield site.error("size", f"{list(data)} does not divide into blocks of {size}", _FIX)


def _split(site: Site, table: Table) -> Iterator[Finding]:
    """Parts of equal size, the last of which must not be without elements."""
    (data,), parts = _shapes(site, 0), site.attribute("num_outputs")
    axis = site.attribute("axis") or 0
    if not isinstance(parts, int) or not data or not -len(data) <= axis < len(data) or data[axis] < 0 or parts < 1:
        return
    if data[axis] - (parts - 1) * -(-data[axis] // parts) < 0:
        yield site.error("size", f"an axis of {data[axis]} does not give {parts} parts", _FIX)


def _gather_elements(site: Site, table: Table) -> Iterator[Finding]:
    data, indices = _shapes(site, 0, 1)
    if data is None or indices is None:
        return
    if len(data) != len(indices):
        yield site.error("size", f"data {list(data)} and indices {list(indices)} differ in their number of axes", _FIX)


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
    """One scale for each channel, and before opset 21 one for each group."""
    data, *scales = _shapes(site, 0, 1, 2)
    wanted = (data[1] if data and len(data) > 1 else -1) if site.scope.opset >= 21 else site.attribute("num_groups")
    for scale in scales:
        if scale is not None and isinstance(wanted, int) and (len(scale) != 1 or _differ(scale[0], wanted)):
            yield site.error("size", f"{list(scale)} scales or biases, and {wanted} are asked for", _FIX)


def _quantised_axis(site: Site, table: Table) -> Iterator[Finding]:
    """A scale for each place along an axis that is free."""
    data, scale = _shapes(site, 0, 1)
    axis = site.attribute("axis")
    axis = 1 if axis is None else axis
    if data and scale and len(scale) == 1 and scale[0] != 1 and -len(data) <= axis < len(data) and data[axis] < 0:
        yield site.error(
            "frozen", f"axis {axis} is free, and there are {scale[0]} scales", "Fix the axis, or use one scale"
        )


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
    amounts = site.scope.value_of(site.input(1))
    if site.attribute("mode") == "wrap" and amounts is not None and min(amounts.ravel().tolist(), default=0) < 0:
        what = "it wraps and cuts at once, of which TensorRT and ONNX Runtime make different things"
        yield site.error("pad-wrap", what, "Cut with Slice first")


def _vector_product(site: Site, table: Table) -> Iterator[Finding]:
    left, right = _shapes(site, 0, 1)
    if left is not None and right is not None and len(left) == 1 and len(right) > 2:
        what = "a vector times a stack of matrices, which the parser reshapes wrongly"
        yield site.error("size", what, "Unsqueeze the vector to a matrix before, and squeeze after")


def broadcasts(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a tensor of this shape broadcasts to the wanted one, as far as sizes are known."""
    if len(shape) > len(wanted):
        return False
    pairs = zip(reversed(shape), reversed(wanted), strict=False)
    return all(size == 1 or not _differ(size, want) for size, want in pairs)


SHAPE_RULES: dict[str, tuple[_Rule, ...]] = {
    "Conv": (_conv,),
    "ConvTranspose": (_conv,),
    "DepthToSpace": (_blocks,),
    "DequantizeLinear": (_quantised_axis,),
    "GatherElements": (_gather_elements,),
    "GroupNormalization": (_group_scales, _normalised),
    "InstanceNormalization": (_normalised,),
    "MatMul": (_vector_product,),
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
