"""Weights and states in the order in which the kernel reads them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.cuda_kernel.layout import padded
from drnn_runtimes.cuda_kernel.plan import KernelPlan


def pack_weights(plan: KernelPlan, weights: Weights) -> NDArray[np.uint8]:
    """Write a network's recurrent layers as the kernel reads them.

    Of each layer, at multiples of 16 bytes: the matrices (k / 4, gates, units, 4) in float32 or float16, where k counts
    the inputs, padded with zeros to a multiple of 4, and then the past in the same way; the biases (gates + 1, units)
    in float32, those of the inputs and of the past added up, but of a GRU that resets after the product the past's
    bias of gate n apart, in the last row.

    Args:
        plan: What `plan_kernel` chose.
        weights: Name -> array, in torch's gate order. Those of the head and of an embedding are not packed.

    Returns:
        (plan.weight_bytes,).

    Raises:
        InputError: A weight is beyond the range of float16, in which it should be packed.
    """
    packed = np.zeros(plan.weight_bytes, np.uint8)
    dtype = np.float16 if plan.options.weights == "fp16" else np.float32
    for index, layer in enumerate(plan.layers):
        of_inputs, of_past, input_bias, past_bias = (
            weights[f"layers.{index}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        matrix = np.concatenate([_in_fours(of_inputs, layer.hidden), _in_fours(of_past, layer.hidden)])
        if np.abs(matrix).max() > np.finfo(dtype).max:
            raise InputError(
                f"layer {index} has a weight beyond the range of float16, {np.finfo(dtype).max}", "Take fp32."
            )
        _put(packed, layer.weights, matrix.astype(dtype))
        biases = np.zeros((plan.spec.gates + 1, layer.hidden), np.float32)
        biases[:-1] = (input_bias + past_bias).reshape(-1, layer.hidden)
        if plan.spec.cell == "gru" and plan.spec.reset == "after":
            biases[2] = input_bias[2 * layer.hidden :]
            biases[3] = past_bias[2 * layer.hidden :]
        _put(packed, layer.biases, biases)
    return packed


def pack_state(spec: ModelSpec, state: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32]:
    """Write the layers' states one after the other, as the kernel reads them.

    Args:
        spec: The network.
        state: Name -> (B, d, H), see `ModelSpec.state_shapes`; the head's past is not packed.
    """
    names = [name for name in spec.state_shapes(1) if name != "fusion"]
    return np.concatenate([np.asarray(state[name], np.float32).reshape(-1) for name in names])


def unpack_state(spec: ModelSpec, batch: int, packed: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Find the layers' states in what the kernel wrote.

    Args:
        spec: The network.
        batch: The number of sequences.
        packed: What `pack_state` gives.

    Returns:
        Name -> (B, d, H) views, oldest first.
    """
    state, start = {}, 0
    for name, shape in spec.state_shapes(batch).items():
        if name != "fusion":
            size = int(np.prod(shape))
            state[name] = packed[start : start + size].reshape(shape)
            start += size
    return state


def _in_fours(matrix: NDArray[np.float32], units: int) -> NDArray[np.float32]:
    """A matrix (gates * units, k) as (k / 4, gates, units, 4)."""
    wide = np.zeros((len(matrix), padded(matrix.shape[1])), np.float32)
    wide[:, : matrix.shape[1]] = matrix
    return np.ascontiguousarray(wide.reshape(-1, units, wide.shape[1] // 4, 4).transpose(2, 0, 1, 3))


def _put(packed: NDArray[np.uint8], place: int, values: NDArray[np.generic]) -> None:
    packed[place : place + values.nbytes] = values.reshape(-1).view(np.uint8)
