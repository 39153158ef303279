"""The lint rules for single operators that a table cannot say, control flow among them.

Sources: onnx-tensorrt's importers (onnxOpImporters.cpp, onnxOpCheckers.cpp), and what TensorRT-RTX 1.7.1 was seen to do
(tests/export/lint/test_linter.py repeats it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from drnn_export.lint.graph_view import Site
from drnn_export.lint.recurrent_rules import RECURRENT_RULES
from drnn_export.lint.scope import shape_of
from drnn_export.lint.tables import Finding, Table

_Rule = Callable[[Site, Table], Iterator[Finding]]

_NARROW = 8  # units from which the compiler ends on a recurrence of one row
_SHAPES = {  # inputs whose values decide a shape
    **dict.fromkeys(("Expand", "Reshape", "Tile", "TopK", "CumSum"), (1,)),
    **{"ConstantOfShape": (0,), "Pad": (1, 3), "Range": (0, 1, 2), "Resize": (3,), "Slice": (1, 2, 3, 4)},
}


def _mod(site: Site, table: Table) -> Iterator[Finding]:
    kind = site.scope.type_of(site.input(0))
    if kind not in (None, "INT32", "INT64") and not site.attribute("fmod"):
        yield site.error("attribute", f"fmod=0 is for INT32 and INT64, not for {kind}", "Use fmod=1")


def _top_k(site: Site, table: Table) -> Iterator[Finding]:
    value = site.scope.value_of(site.input(1))
    if value is not None and value.dtype.kind == "i" and value.size == 1 and value.max() > table.largest_k:
        yield site.error("input", f"k is over {table.largest_k}", "Ask for fewer")


def _range(site: Site, table: Table) -> Iterator[Finding]:
    free = [name for name in site.node.input if not site.scope.is_constant(name)]
    if free and site.scope.type_of(site.input(0)) == "FLOAT":
        what = f"{free[0]!r} must be known when the engine is built, for a range of FLOAT"
        yield site.error("input", what, "Make it an initialiser, or count in INT64 and cast")


def _einsum(site: Site, table: Table) -> Iterator[Finding]:
    equation = site.attribute("equation")
    if isinstance(equation, str) and (odd := sorted(set(equation) - set("abcdefghijklmnopqrstuvwxyz->., "))):
        what = f"the equation has {odd[0]!r}, and TensorRT takes the letters a to z only"
        yield site.error("attribute", what, "Rename the axes in lower case")


def _resize(site: Site, table: Table) -> Iterator[Finding]:
    if site.input(2) and not site.scope.is_constant(site.input(2)):
        yield site.error("input", "scales must be known when the engine is built", "Make them an initialiser")
    mode = site.attribute("coordinate_transformation_mode"), site.attribute("nearest_mode")
    if mode[0] == "tf_half_pixel_for_nn" and mode[1] not in (None, "round_prefer_floor"):
        yield site.error("attribute", f"nearest_mode={mode[1]} is not taken with {mode[0]}", "Use round_prefer_floor")


_PADDED_KEYS = 6  # input


def _attention(site: Site, table: Table) -> Iterator[Finding]:
    if site.input(3) and site.attribute("is_causal"):
        yield site.error("attribute", "is_causal=1 is not taken with a mask", "Put the causal part into the mask")
    queries, keys, values = (site.scope.shape_of(site.input(index)) for index in range(3))
    if keys and values and -1 not in (keys[-1], values[-1]) and keys[-1] != values[-1]:
        what = f"K and V are of different widths, {keys[-1]} and {values[-1]}"
        yield site.error("input", what, "Pad one of them")
    if table.target != "tensorrt-rtx" or site.scope.type_of(site.input(0)) is None or not queries or not keys:
        what = "sizes and types without a kernel of their own are refused by the compiler"
        yield site.finding("warning", "attention", what, "Build an engine early, or write attention as two products")
    elif problem := _no_kernel(site, queries, keys):
        yield site.error("attention", f"the compiler has no kernel for {problem}", "Write attention as two products")


def _no_kernel(site: Site, queries: tuple[int, ...], keys: tuple[int, ...]) -> str:
    """Why TensorRT-RTX 1.7.1 does not compile an Attention, "" if it does; measured."""
    kind, mask = site.scope.type_of(site.input(0)), site.input(3) and site.scope.type_of(site.input(3))
    batch, steps, is_flat = queries[0], queries[-2], len(queries) == 3
    heads, of_keys = (
        (site.attribute("q_num_heads"), site.attribute("kv_num_heads")) if is_flat else (queries[1], keys[1])
    )
    if not heads or not of_keys:
        return "an unknown number of heads"
    if min(heads, of_keys) > 0 and heads % of_keys:
        return f"{heads} heads of queries with {of_keys} of keys"
    is_plain = is_flat and heads == of_keys and steps != 1 and not site.attribute("is_causal")
    if not mask and (is_plain or site.input(_PADDED_KEYS)):
        return ""
    if kind == "FLOAT":
        return "FLOAT"
    if mask and mask not in ("BOOL", kind):
        return f"a mask of {mask} with data of {kind}"
    width = queries[-1] // heads if is_flat else queries[-1]
    if 0 <= width <= 8 or width > 256:
        return f"heads of {width} values: 9 to 256 are taken"
    if batch == 1 and (heads == 1 or (steps == 1 and keys[-2] != 1)):
        return "a single head or a single query, with a batch of one"
    return ""


def _if(site: Site, table: Table) -> Iterator[Finding]:
    branches = {a.name: a.g for a in site.node.attribute if a.HasField("g")}
    if len(branches) != 2 or site.scope.value_of(site.input(0)) is not None:
        return
    first, second = (graph.output for graph in branches.values())
    if len(first) != len(second):
        yield site.error("branches", "the branches have different numbers of outputs", "Give both the same outputs")
    for one, other in zip(first, second, strict=False):
        sides = [value.type for value in (one, other) if value.type.tensor_type.HasField("shape")]
        if len(sides) == 2 and len(shape_of(sides[0])) != len(shape_of(sides[1])):
            what = f"output {one.name!r} has a different number of axes in the other branch"
            yield site.error("branches", what, "Reshape it to the same number of axes")


def _loop(site: Site, table: Table) -> Iterator[Finding]:
    """A Loop without a trip count or a condition, and states that change their size."""
    body = next((a.g for a in site.node.attribute if a.name == "body"), None)
    if body is None or len(body.input) < 2 or not body.output:
        return
    if not site.input(1) and any(body.input[1].name in node.input for node in body.node):
        # which the parser does not register
        what = "it has no condition, and its body reads the condition, which the parser then does not know"
        yield site.error("loop-condition", what, "Give it an initialiser of value true as its condition")
    if not site.input(0) and len(body.output) > len(body.input) - 1:
        what = "it collects outputs and has no trip count, which decides their size"
        yield site.error("loop-size", what, "Give it the largest number of trips")
    for before, after in zip(body.input[2:], body.output[1:], strict=False):
        sizes = [shape_of(value.type) for value in (before, after) if value.type.tensor_type.HasField("shape")]
        if len(sizes) == 2 and (len(sizes[0]) != len(sizes[1]) or any(map(_grows, *sizes))):
            what = f"the state {before.name!r} is {list(sizes[0])} before a trip and {list(sizes[1])} after it"
            yield site.error("loop-size", what, "Keep its size, for example in a buffer that is filled")


def _grows(before: int, after: int) -> bool:
    return -1 not in (before, after) and before != after


def _loop_size(site: Site, table: Table) -> Iterator[Finding]:
    """A size inside a loop that depends on the trip."""
    names = [site.input(index) for index in _SHAPES[site.node.op_type]]
    if odd := [name for name in names if name and site.scope.is_of_loop(name)]:
        what = f"input {odd[0]!r} decides a size and differs from trip to trip"
        yield site.error("loop-size", what, "Use Gather for one element, or sizes that stay")


def _one_row_state(site: Site, table: Table) -> Iterator[Finding]:
    states = [site.scope.shape_of(name) for name in site.node.output]
    if any(state and len(state) == 2 and state[0] == 1 and state[1] < _NARROW for state in states):
        yield from _one_row(site, table)


def _one_row(site: Site, table: Table) -> Iterator[Finding]:
    """Seen for Scan of gated cells with four hidden units, and not with eight."""
    if table.target == "tensorrt-rtx":
        what = "a recurrence of one row, for which the compiler has been seen not to end at small widths"
        yield site.finding("warning", "one-row", what, "Build with a time limit, or with a batch of two")


def _shape_input(site: Site, table: Table) -> Iterator[Finding]:
    names = [site.input(index) for index in _SHAPES.get(site.node.op_type, ())]
    for name in dict.fromkeys(name for name in names if name in site.scope.free_inputs):
        what = f"input {name!r} of the network decides a shape"
        yield site.finding("warning", "shape-input", what, "Give its range of values when building")


OPERATOR_RULES: dict[str, tuple[_Rule, ...]] = {
    **dict.fromkeys(_SHAPES, (_shape_input, _loop_size)),
    "Attention": (_attention,),
    "Einsum": (_einsum,),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), RECURRENT_RULES),
    "If": (_if,),
    "Loop": (_loop, _one_row_state),
    "Mod": (_mod,),
    "Range": (_range, _shape_input, _loop_size),
    "Resize": (_resize, _shape_input, _loop_size),
    "Scan": (_one_row_state,),
    "TopK": (_top_k, _shape_input, _loop_size),
}
