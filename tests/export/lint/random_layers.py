"""Valid random nodes of convolutions, pooling, normalisation and quantisation, by seed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from tests.export.lint.drafts import Draft, floats, shape


def conv(rng: random.Random) -> Draft:
    operator, axes = rng.choice(["Conv", "ConvTranspose"]), rng.choice([1, 2])
    group, per_in, per_out = rng.choice([1, 1, 2]), rng.choice([1, 2]), rng.choice([1, 2])
    kernel = [rng.choice([1, 2, 3]) for _ in range(axes)]
    filters = (group * per_out, per_in, *kernel) if operator == "Conv" else (group * per_in, per_out, *kernel)
    inputs = [floats(rng, rng.choice([1, 2]), group * per_in, *[5] * axes), floats(rng, *filters)]
    if rng.random() < 0.5:
        inputs.append(floats(rng, group * per_out))
    attributes: dict[str, Any] = {"group": group} if group > 1 or rng.random() < 0.5 else {}
    attributes |= windows(rng, axes, kernel, dilated=True)
    return Draft(operator, tuple(inputs), frozenset(range(1, len(inputs))), attributes, opset=rng.choice([11, 22]))


def windows(rng: random.Random, axes: int, kernel: list[int], *, dilated: bool) -> dict[str, Any]:
    """How a window moves."""
    made: dict[str, Any] = {"kernel_shape": kernel} if not dilated or rng.random() < 0.6 else {}
    if rng.random() < 0.5:
        made["strides"] = [rng.choice([1, 2]) for _ in range(axes)]
    if rng.random() < 0.4:
        made["pads"] = [rng.choice([0, 1]) if min(kernel) > 1 else 0 for _ in range(2 * axes)]
    elif rng.random() < 0.3:
        made["auto_pad"] = rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
    if dilated and rng.random() < 0.3:
        made["dilations"] = [rng.choice([1, 2]) for _ in range(axes)]
    return made


def pool(rng: random.Random) -> Draft:
    axes = rng.choice([1, 2])
    operator = rng.choice(["MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool"])
    kernel = [rng.choice([1, 2, 3]) for _ in range(axes)]
    attributes = {} if operator.startswith("Global") else windows(rng, axes, kernel, dilated=False)
    if operator == "AveragePool" and rng.random() < 0.5:
        attributes["count_include_pad"] = rng.choice([0, 1])
    if operator in ("MaxPool", "AveragePool") and rng.random() < 0.4:
        attributes["ceil_mode"] = rng.choice([0, 1])
    return Draft(operator, (floats(rng, 1, 2, *[5] * axes),), attributes=attributes, opset=rng.choice([11, 18]))


def norm(rng: random.Random) -> Draft:
    operator = rng.choice(
        ["BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "LRN", "PRelu"]
    )
    batch, channels = rng.choice([1, 2]), rng.choice([2, 4])
    data = floats(rng, batch, channels, *shape(rng, 1, 2))
    attributes: dict[str, Any] = {} if operator == "PRelu" else {"epsilon": 0.01} if rng.random() < 0.5 else {}
    if operator == "LayerNormalization":
        axis = rng.choice([-1, 1, -2])
        scale = data.shape[axis:]
        inputs = (data, floats(rng, *scale), *([floats(rng, *scale)] if rng.random() < 0.6 else []))
        return Draft(operator, inputs, frozenset(range(1, len(inputs))), {**attributes, "axis": axis}, opset=17)
    if operator == "LRN":
        return Draft(operator, (data,), attributes={"size": rng.choice([1, 3, 5])}, opset=13)
    if operator == "PRelu":
        slope = rng.choice([(), (channels, *[1] * (data.ndim - 2)), data.shape[1:], (1,)])
        return Draft(operator, (data, floats(rng, *slope)), frozenset({1}), opset=16)
    if operator == "GroupNormalization":
        attributes["num_groups"] = rng.choice([1, 2])
    count = {"BatchNormalization": 4, "InstanceNormalization": 2, "GroupNormalization": 2}[operator]
    inputs = (data, *(np.abs(floats(rng, channels)) + 0.5 for _ in range(count)))
    return Draft(operator, inputs, frozenset(range(1, count + 1)), attributes, opset=21)


def quantise(rng: random.Random) -> Draft:
    sizes, operator = shape(rng, 1, 2, 3), rng.choice(["QuantizeLinear", "DequantizeLinear"])
    axis = rng.randrange(len(sizes))
    per_axis = rng.random() < 0.5
    scale = np.abs(floats(rng, *([sizes[axis]] if per_axis else []))) + np.float32(0.1)
    data = floats(rng, *sizes)
    if operator == "DequantizeLinear":
        data = (data * 50).astype(np.int8)
    zero = np.zeros(scale.shape, np.int8)
    inputs = (data, scale, zero) if operator == "QuantizeLinear" or rng.random() < 0.7 else (data, scale)
    return Draft(
        operator,
        inputs,
        frozenset(range(1, len(inputs))),
        {"axis": axis} if per_axis else {},
        opset=rng.choice([13, 21]),
    )
