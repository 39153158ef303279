"""A node under construction: an operator with an array for each input; and changes of one thing about it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Array = NDArray[Any]
TYPES: tuple[Any, ...] = (
    *(np.float32, np.float16, ml_dtypes.bfloat16, np.int32, np.int64, np.bool_, np.int8, np.uint8, np.float64),
)


@dataclasses.dataclass(frozen=True)
class Draft:
    """One node.

    Attributes:
        operator: Its operator.
        inputs: Each input's value; None for one that is left out.
        fixed: Which inputs are initialisers; the others are inputs of the network.
        attributes: Its attributes, as `onnx.helper` takes them.
        outputs: How many.
        opset: The version of ONNX's operators.
        free: (input, axis) that are free; those of one size under one name.
        change: What was changed about it.
    """

    operator: str
    inputs: tuple[Array | None, ...]
    fixed: frozenset[int] = frozenset()
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    outputs: int = 1
    opset: int = 22
    free: frozenset[tuple[int, int]] = frozenset()
    change: str = ""


def floats(rng: random.Random, *shape: int) -> Array:
    """Numbers that a runtime may not confuse, away from zero and from each other."""
    return np.random.default_rng(rng.randrange(2**32)).uniform(-1.5, 1.5, shape).astype(np.float32)


def shape(rng: random.Random, *ranks: int) -> list[int]:
    """Sizes of a small tensor of one of these ranks."""
    return [rng.choice([1, 2, 3, 4]) for _ in range(rng.choice(ranks))]


def model(draft: Draft) -> onnx.ModelProto:
    """The draft as a graph of one node."""
    names = ["" if value is None else f"i{index}" for index, value in enumerate(draft.inputs)]
    inputs, constants = [], []
    for index, (name, value) in enumerate(zip(names, draft.inputs, strict=True)):
        if value is None:
            continue
        if index in draft.fixed:
            constants.append(numpy_helper.from_array(value, name))
        else:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            shape = [f"n{size}" if (index, axis) in draft.free else size for axis, size in enumerate(value.shape)]
            inputs.append(helper.make_tensor_value_info(name, kind, shape))
    made = [f"o{index}" for index in range(draft.outputs)]
    node = helper.make_node(draft.operator, names, made, "node", **draft.attributes)
    graph = helper.make_graph([node], "generated", inputs, [onnx.ValueInfoProto(name=name) for name in made], constants)
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", draft.opset)], ir_version=10)
    return _with_output_types(whole)


def _with_output_types(whole: onnx.ModelProto) -> onnx.ModelProto:
    """Outputs of the types that ONNX infers, FLOAT where it infers none; without shapes."""
    try:
        inferred = onnx.shape_inference.infer_shapes(whole).graph.output
    except Exception:  # of a node that is none of ONNX's
        inferred = whole.graph.output
    for value, known in zip(whole.graph.output, inferred, strict=True):
        value.type.tensor_type.elem_type = known.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
    return whole


def feeds(draft: Draft) -> dict[str, Array]:
    """What the graph of a draft is run on."""
    return {
        f"i{index}": value for index, value in enumerate(draft.inputs) if value is not None and index not in draft.fixed
    }


Change = Callable[[Draft, random.Random], Draft | None]


def changed(draft: Draft, rng: random.Random) -> Draft:
    """The draft with one thing about it changed, or as it is where the change has nothing to work on."""
    change = rng.choice(CHANGES)
    made = change(draft, rng)
    return draft if made is None else dataclasses.replace(made, change=f"{draft.change} {change.__name__}".strip())


def _an_input(draft: Draft, rng: random.Random) -> int | None:
    given = [index for index, value in enumerate(draft.inputs) if value is not None]
    return rng.choice(given) if given else None


def _with_input(draft: Draft, index: int, value: Array | None) -> Draft:
    inputs = [*draft.inputs]
    inputs[index] = value
    axes = 0 if value is None else value.ndim
    free = frozenset((i, axis) for i, axis in draft.free if i != index or axis < axes)
    return dataclasses.replace(draft, inputs=tuple(inputs), free=free)


def size(draft: Draft, rng: random.Random) -> Draft | None:
    """One axis of one input is longer or shorter."""
    index = _an_input(draft, rng)
    if index is None or not (value := draft.inputs[index]).ndim:  # type: ignore[union-attr]
        return None
    axis = rng.randrange(value.ndim)
    wanted = rng.choice([1, 2, 3, max(value.shape[axis] - 1, 0), value.shape[axis] + 1, 2 * value.shape[axis]])
    return _with_input(draft, index, np.resize(value, [*value.shape[:axis], wanted, *value.shape[axis + 1 :]]))


def axes(draft: Draft, rng: random.Random) -> Draft | None:
    """One input has an axis more or less."""
    index = _an_input(draft, rng)
    if index is None:
        return None
    value = draft.inputs[index]
    assert value is not None
    if value.ndim and rng.random() < 0.6:
        return _with_input(draft, index, value[0] if value.shape[0] and rng.random() < 0.5 else value.reshape(-1))
    return _with_input(draft, index, value[None] if rng.random() < 0.5 else value[..., None])


def kind(draft: Draft, rng: random.Random) -> Draft | None:
    """One input, or each of its type, is of another type."""
    index = _an_input(draft, rng)
    if index is None:
        return None
    old, new = draft.inputs[index].dtype, rng.choice(TYPES)  # type: ignore[union-attr]
    together = rng.random() < 0.6
    made = draft
    for other, value in enumerate(draft.inputs):
        if value is not None and (other == index or (together and value.dtype == old)):
            made = _with_input(made, other, _as(value, new))
    return made


def _as(value: Array, new: Any) -> Array:
    whole = np.clip(np.nan_to_num(value.astype(np.float32)), -100, 100).astype(np.int32)
    return whole.astype(new) if value.dtype != new else value


def gone(draft: Draft, rng: random.Random) -> Draft | None:
    """One input is left out."""
    index = _an_input(draft, rng)
    if index is None:
        return None
    if index == len(draft.inputs) - 1:
        return dataclasses.replace(draft, inputs=draft.inputs[:-1])
    return _with_input(draft, index, None)


def more(draft: Draft, rng: random.Random) -> Draft | None:
    """One input more."""
    value = rng.choice([np.ones((2, 3), np.float32), np.array([1]), np.array(0.5, np.float32), np.array(True)])
    made = dataclasses.replace(draft, inputs=(*draft.inputs, value))
    return made if rng.random() < 0.4 else dataclasses.replace(made, fixed=draft.fixed | {len(draft.inputs)})


def swapped(draft: Draft, rng: random.Random) -> Draft | None:
    """Two inputs change places."""
    if len(draft.inputs) < 2:
        return None
    one, other = rng.sample(range(len(draft.inputs)), 2)
    inputs = [*draft.inputs]
    inputs[one], inputs[other] = inputs[other], inputs[one]
    return dataclasses.replace(draft, inputs=tuple(inputs), free=frozenset())


def place(draft: Draft, rng: random.Random) -> Draft | None:
    """An initialiser becomes an input of the network, or the other way."""
    index = _an_input(draft, rng)
    return None if index is None else dataclasses.replace(draft, fixed=draft.fixed ^ {index})


def value(draft: Draft, rng: random.Random) -> Draft | None:
    """Some elements of an integer initialiser, or of a number, are others."""
    known = [i for i in draft.fixed if i < len(draft.inputs) and draft.inputs[i] is not None]
    whole = [i for i in known if draft.inputs[i].dtype.kind in "iu" and draft.inputs[i].size]  # type: ignore[union-attr]
    if not whole:
        return None
    index = rng.choice(whole)
    made = draft.inputs[index].copy()  # type: ignore[union-attr]
    made.flat[rng.randrange(made.size)] = rng.choice([0, 1, 2, 3, 5, *([-1, -2, -9] if made.dtype.kind == "i" else [])])
    return _with_input(draft, index, made)


def attribute(draft: Draft, rng: random.Random) -> Draft | None:
    """One attribute is another, or goes."""
    names = sorted(name for name, v in draft.attributes.items() if not isinstance(v, onnx.GraphProto))
    if not names:
        return None
    name = rng.choice(names)
    attributes = dict(draft.attributes)
    if rng.random() < 0.25:
        del attributes[name]
    else:
        attributes[name] = _other(attributes[name], rng)
        if attributes[name] == []:
            del attributes[name]
    return dataclasses.replace(draft, attributes=attributes)


def _other(old: Any, rng: random.Random) -> Any:
    if isinstance(old, list | tuple | np.ndarray):
        entries = list(old)
        way = rng.random()
        if way < 0.4 and entries:
            entries[rng.randrange(len(entries))] = _other(rng.choice(entries), rng)
            return entries
        return entries[:-1] if way < 0.7 else [*entries, *entries[-1:]]
    if isinstance(old, bool | int | np.integer):
        return rng.choice([0, 1, 2, 3, -1, -2, 7, int(old) + 1])
    if isinstance(old, float | np.floating):
        return rng.choice([0.0, 1.0, -1.0, 0.5, 1e9, float("nan")])
    if isinstance(old, bytes | str):
        text = old.decode() if isinstance(old, bytes) else old
        return rng.choice([text.upper(), "", "nothing", text[:-1]])
    return old


def added(draft: Draft, rng: random.Random) -> Draft | None:
    """One attribute more, of those that its operator has."""
    try:
        schema = onnx.defs.get_schema(draft.operator, draft.opset)
    except onnx.defs.SchemaError:
        return None
    makers: dict[Any, Callable[[], Any]] = {
        onnx.defs.OpSchema.AttrType.INT: lambda: rng.choice([0, 1, 2, -1]),
        onnx.defs.OpSchema.AttrType.FLOAT: lambda: rng.choice([0.0, 0.5, 2.0]),
        onnx.defs.OpSchema.AttrType.INTS: lambda: [rng.choice([0, 1, 2]) for _ in range(rng.randrange(1, 4))],
        onnx.defs.OpSchema.AttrType.STRING: lambda: rng.choice(["nothing", "reverse", "SAME_UPPER", "linear", "add"]),
    }
    names = sorted(n for n, a in schema.attributes.items() if a.type in makers and n not in draft.attributes)
    if not names:
        return None
    name = rng.choice(names)
    return dataclasses.replace(draft, attributes={**draft.attributes, name: makers[schema.attributes[name].type]()})


def opset(draft: Draft, rng: random.Random) -> Draft | None:
    """Another version of ONNX's operators."""
    return dataclasses.replace(draft, opset=rng.choice([7, 9, 11, 13, 17, 18, 20, 21, 23, 24]))


def free(draft: Draft, rng: random.Random) -> Draft | None:
    """One axis of an input is free, and where others have its size, perhaps those too."""
    places = [
        (index, axis)
        for index, array in enumerate(draft.inputs)
        if array is not None and index not in draft.fixed
        for axis in range(array.ndim)
        if array.shape[axis] > 1  # of a range that holds 1 only, a builder makes a constant
    ]
    if not places:
        return None
    chosen = rng.choice(places)
    return dataclasses.replace(draft, free=draft.free | {chosen})


def outputs(draft: Draft, rng: random.Random) -> Draft | None:
    """One output more or less."""
    return dataclasses.replace(draft, outputs=max(1, draft.outputs + rng.choice([-1, 1])))


CHANGES: tuple[Change, ...] = (
    *(size, size, size, axes, axes, kind, kind, gone, more, swapped, place, value, value),
    *(attribute, attribute, attribute, added, added, opset, free, outputs),
)
