"""Valid random nodes of the operators that matter most, by seed; each with a value for every input."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.export.lint.drafts import Array, Draft, floats, shape
from tests.export.lint.random_layers import conv, norm, pool, quantise
from tests.export.lint.random_recurrent import recurrent


def subset(rng: random.Random, rank: int, least: int = 1) -> list[int]:
    """Some axes of a tensor, negative ones among them."""
    axes = sorted(rng.sample(range(rank), rng.randint(min(least, rank), rank)))
    return [axis - rank if rng.random() < 0.3 else axis for axis in axes]


def broadcast(rng: random.Random, wanted: list[int]) -> list[int]:
    """A shape that broadcasts to the wanted one."""
    kept = wanted[rng.randrange(len(wanted) + 1) :]
    return [1 if rng.random() < 0.3 else size for size in kept]


def matmul(rng: random.Random) -> Draft:
    m, k, n = (rng.choice([1, 2, 3, 4]) for _ in range(3))
    outer = shape(rng, 0, 1, 2)
    left = rng.choice([[k], [m, k], [*broadcast(rng, outer), m, k], [*outer, m, k]])
    right = rng.choice([[k], [k, n], [*broadcast(rng, outer), k, n], [*outer, k, n]])
    return Draft("MatMul", (floats(rng, *left), floats(rng, *right)), rng.choice([frozenset(), frozenset({1})]))


def gemm(rng: random.Random) -> Draft:
    m, k, n = (rng.choice([1, 2, 3, 4]) for _ in range(3))
    over = {name: rng.choice([0, 1]) for name in ("transA", "transB") if rng.random() < 0.6}
    left, right = (k, m) if over.get("transA") else (m, k), (n, k) if over.get("transB") else (k, n)
    bias = rng.choice([None, [], [n], [1, n], [m, n], [m, 1], [1]])
    inputs = [floats(rng, *left), floats(rng, *right)] + ([] if bias is None else [floats(rng, *bias)])
    factors = {name: rng.choice([0.5, 2.0]) for name in ("alpha", "beta") if rng.random() < 0.4}
    fixed = frozenset({1, 2} if len(inputs) > 2 else {1}) if rng.random() < 0.6 else frozenset[int]()
    return Draft("Gemm", tuple(inputs), fixed, {**over, **factors}, opset=rng.choice([9, 13]))


def elementwise(rng: random.Random) -> Draft:
    operator = rng.choice(["Add", "Sub", "Mul", "Div", "Pow", "Greater", "Less", "Equal", "And", "Or", "Xor", "Mod"])
    full = shape(rng, 0, 1, 2, 3)
    left, right = floats(rng, *broadcast(rng, full)), floats(rng, *full)
    if operator in ("And", "Or", "Xor"):
        left, right = left > 0, right > 0
    elif operator == "Mod" or rng.random() < 0.3:
        kind = rng.choice([np.int32, np.int64])
        left, right = (left * 4).astype(kind), (np.abs(right) * 3 + 1).astype(kind)
    elif operator == "Pow":
        left = np.abs(left) + 0.5
    pair = (left, right) if rng.random() < 0.5 or operator == "Pow" else (right, left)
    if operator in ("Div", "Mod"):
        pair = (pair[0], np.where(pair[1] == 0, 1, pair[1]).astype(pair[1].dtype))
    return Draft(operator, pair, frozenset({1}) if rng.random() < 0.4 else frozenset(), opset=rng.choice([13, 17]))


def several(rng: random.Random) -> Draft:
    full = shape(rng, 1, 2, 3)
    values = tuple(floats(rng, *broadcast(rng, full)) for _ in range(rng.choice([1, 2, 3])))
    return Draft(rng.choice(["Max", "Min", "Sum", "Mean"]), (*values, floats(rng, *full)), opset=rng.choice([8, 13]))


FUNCTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Exp", "Neg", "Abs", "Erf", "Identity"), ()),
    **dict.fromkeys(("Floor", "Ceil", "Round", "Sin", "Cos", "Sign", "HardSwish", "Mish", "Reciprocal"), ()),
    **{"LeakyRelu": ("alpha",), "Elu": ("alpha",), "ThresholdedRelu": ("alpha",), "Celu": ("alpha",)},
    **{"HardSigmoid": ("alpha", "beta"), "Selu": ("alpha", "gamma"), "Shrink": ("lambd", "bias")},
}


def function(rng: random.Random) -> Draft:
    operator = rng.choice(sorted(FUNCTIONS))
    values = {name: rng.choice([0.1, 0.5, 1.5]) for name in FUNCTIONS[operator] if rng.random() < 0.6}
    return Draft(operator, (floats(rng, *shape(rng, 0, 1, 2, 3)),), attributes=values)


def slice_(rng: random.Random) -> Draft:
    sizes = shape(rng, 1, 2, 3)
    axes = subset(rng, len(sizes))
    starts = [rng.choice([0, 1, -1, -2, 9, -9]) for _ in axes]
    ends = [rng.choice([1, 2, 3, 2**31 - 1, 2**63 - 1, -1, 0, -9]) for _ in axes]
    steps = [rng.choice([1, 1, 2, -1, -2]) for _ in axes]
    inputs: list[Array | None] = [floats(rng, *sizes), *(np.array(entry, np.int64) for entry in (starts, ends))]
    if len(axes) < len(sizes) or rng.random() < 0.8:
        inputs.append(np.array(axes, np.int64))
        if rng.random() < 0.6:
            inputs.append(np.array(steps, np.int64))
    fixed = frozenset(range(1, len(inputs))) if rng.random() < 0.8 else frozenset[int]()
    return Draft("Slice", tuple(inputs), fixed, opset=rng.choice([10, 13]))


def concat(rng: random.Random) -> Draft:
    sizes = shape(rng, 1, 2, 3)
    axis = rng.randrange(len(sizes))
    values = []
    for _ in range(rng.choice([1, 2, 3])):
        values.append(floats(rng, *sizes[:axis], rng.choice([1, 2, 3]), *sizes[axis + 1 :]))
    return Draft("Concat", tuple(values), attributes={"axis": rng.choice([axis, axis - len(sizes)])}, opset=13)


def gather(rng: random.Random) -> Draft:
    sizes, operator = shape(rng, 1, 2, 3), rng.choice(["Gather", "GatherElements"])
    axis = rng.randrange(len(sizes))
    where = shape(rng, 0, 1, 2) if operator == "Gather" else sizes
    index = np.array(np.random.default_rng(rng.randrange(99)).integers(-sizes[axis], sizes[axis], where))
    index = index.astype(rng.choice([np.int32, np.int64]))
    fixed = frozenset({1}) if rng.random() < 0.5 else frozenset[int]()
    attributes = {"axis": axis} if axis or rng.random() < 0.5 else {}
    return Draft(operator, (floats(rng, *sizes), index), fixed, attributes, opset=13)


def reshape(rng: random.Random) -> Draft:
    sizes = shape(rng, 1, 2, 3)
    wanted = [int(np.prod(sizes))] if rng.random() < 0.4 else rng.sample(sizes, len(sizes))
    if rng.random() < 0.5:
        wanted[rng.randrange(len(wanted))] = -1
    elif rng.random() < 0.3 and wanted[0] == sizes[0]:
        wanted[0] = 0
    operator, target = rng.choice([("Reshape", wanted), ("Reshape", wanted), ("Expand", [2, *sizes]), ("Tile", sizes)])
    return Draft(operator, (floats(rng, *sizes), np.array(target, np.int64)), frozenset({1}), opset=13)


def split(rng: random.Random) -> Draft:
    parts = [rng.choice([1, 2, 3]) for _ in range(rng.choice([1, 2, 3]))]
    axis, sizes = rng.choice([0, 1, -1]), shape(rng, 2)
    sizes[axis] = sum(parts)
    inputs: tuple[Array, ...] = (floats(rng, *sizes),)
    attributes: dict[str, Any] = {"axis": axis} if axis or rng.random() < 0.5 else {}
    if len(set(parts)) == 1 and rng.random() < 0.5:
        opset = rng.choice([13, 18])
        return Draft(
            "Split",
            inputs,
            frozenset(),
            attributes | ({"num_outputs": len(parts)} if opset > 13 else {}),
            len(parts),
            opset,
        )
    return Draft("Split", (*inputs, np.array(parts)), frozenset({1}), attributes, len(parts), 13)


def pad(rng: random.Random) -> Draft:
    sizes = [rng.choice([2, 3, 4]) for _ in range(rng.choice([1, 2, 3, 4]))]
    mode = rng.choice([None, "constant", "reflect", "edge", "wrap"])
    amounts = np.array([rng.choice([0, 0, 1, -1]) for _ in range(2 * len(sizes))], np.int64)
    inputs: list[Array | None] = [floats(rng, *sizes), amounts]
    if mode in (None, "constant") and rng.random() < 0.5:
        inputs.append(np.array(0.5, np.float32))
    fixed = frozenset(range(1, len(inputs)))
    return Draft(
        "Pad", tuple(inputs), fixed, {} if mode is None else {"mode": mode}, opset=19 if mode == "wrap" else 13
    )


def reduce(rng: random.Random) -> Draft:
    operator = "Reduce" + rng.choice(
        ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare", "LogSum"]
    )
    sizes = shape(rng, 1, 2, 3)
    attributes = {"keepdims": rng.choice([0, 1])} if rng.random() < 0.7 else {}
    value = np.abs(floats(rng, *sizes)) + 0.1
    if rng.random() < 0.5:
        return Draft(operator, (value,), attributes={**attributes, "axes": subset(rng, len(sizes))}, opset=12)
    return Draft(operator, (value, np.array(subset(rng, len(sizes)))), frozenset({1}), attributes, opset=18)


def along(rng: random.Random) -> Draft:
    operator = rng.choice(
        ["Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "Flatten", "LpNormalization", "Transpose", "Shape"]
    )
    sizes = shape(rng, 1, 2, 3)
    axis = rng.randrange(len(sizes))
    attributes: dict[str, Any] = {"axis": rng.choice([axis, axis - len(sizes)])} if rng.random() < 0.7 else {}
    if operator == "Transpose":
        attributes = {"perm": rng.sample(range(len(sizes)), len(sizes))} if rng.random() < 0.7 else {}
    elif operator == "Shape":
        attributes = {"start": axis} if rng.random() < 0.5 else {}
    elif operator.startswith("Arg") and rng.random() < 0.5:
        attributes["keepdims"] = 0
    return Draft(
        operator,
        (floats(rng, *sizes),),
        attributes=attributes,
        opset=rng.choice([11, 13, 17]) if operator != "Shape" else 15,
    )


def axes_of(rng: random.Random) -> Draft:
    operator, sizes = rng.choice(["Squeeze", "Unsqueeze"]), shape(rng, 1, 2, 3)
    axes = subset(rng, len(sizes) + (operator == "Unsqueeze"))
    if operator == "Squeeze":
        for axis in axes:
            sizes[axis] = 1
    if rng.random() < 0.5:
        return Draft(operator, (floats(rng, *sizes),), attributes={"axes": axes}, opset=11)
    return Draft(operator, (floats(rng, *sizes), np.array(axes)), frozenset({1}), opset=13)


def pick(rng: random.Random) -> Draft:
    operator = rng.choice(
        ["Where", "Clip", "TopK", "CumSum", "OneHot", "Cast", "ScatterND", "ScatterElements", "Trilu"]
    )
    sizes = shape(rng, 2, 3)
    data, axis = floats(rng, *sizes), rng.randrange(len(sizes))
    if operator == "Where":
        return Draft(operator, (floats(rng, *broadcast(rng, sizes)) > 0, data, floats(rng, *broadcast(rng, sizes))))
    if operator == "Clip":
        bounds = [rng.choice([None, np.array(value, np.float32)]) for value in (-0.5, 0.5)]
        while bounds and bounds[-1] is None:
            bounds.pop()
        given = {i + 1 for i, bound in enumerate(bounds) if bound is not None}
        return Draft(operator, (data, *bounds), frozenset(given) if rng.random() < 0.7 else frozenset(), opset=13)
    if operator == "TopK":
        k = np.array([rng.randint(1, sizes[axis])])
        return Draft(operator, (data, k), frozenset({1}), {"axis": axis, "largest": rng.choice([0, 1])}, 2, 11)
    if operator == "CumSum":
        flags = {name: rng.choice([0, 1]) for name in ("exclusive", "reverse") if rng.random() < 0.5}
        return Draft(
            operator, (data, np.array(axis, rng.choice([np.int32, np.int64]))), frozenset({1}), flags, opset=14
        )
    if operator == "OneHot":
        index = np.random.default_rng(0).integers(0, 3, sizes)
        return Draft(
            operator,
            (index, np.array(3), np.array([0.0, 1.0], np.float32)),
            frozenset({1, 2}),
            {"axis": rng.choice([-1, 0, 1])},
            opset=11,
        )
    if operator == "Cast":
        return Draft(operator, (data,), attributes={"to": rng.choice([1, 6, 7, 9, 10])}, opset=13)
    if operator == "ScatterND":
        index = np.array([[rng.randrange(sizes[0])]])
        return Draft(
            operator, (data, index, floats(rng, 1, *sizes[1:])), rng.choice([frozenset(), frozenset({1})]), opset=13
        )
    if operator == "ScatterElements":
        index = np.zeros(sizes, np.int64)[:1] if axis else np.zeros(sizes, np.int64)[:, :1]
        axis = 0 if axis else 1
        index = np.zeros([1 if i == axis else size for i, size in enumerate(sizes)], np.int64)
        return Draft(operator, (data, index, floats(rng, *index.shape)), attributes={"axis": axis}, opset=13)
    return Draft(
        operator, (data, np.array(rng.choice([0, 1, -1]))), frozenset({1}), {"upper": rng.choice([0, 1])}, opset=14
    )


MAKERS: dict[str, Callable[[random.Random], Draft]] = {
    **{cell: functools.partial(recurrent, cell=cell) for cell in ("RNN", "GRU", "LSTM")},
    **{
        made.__name__: made
        for made in (
            *(matmul, gemm, elementwise, several, function, slice_, concat, gather, conv, pool, reshape, split, pad),
            *(reduce, along, axes_of, norm, quantise, pick),
        )
    },
}
