"""Tensors as arrays: whatever is not dense, stored whole and of a type that NumPy has is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from drnn_core import bounds
from drnn_core.errors import InputError


def to_arrays(tensors: Mapping[Any, object]) -> dict[str, NDArray[Any]]:
    """Convert a state dict.

    Args:
        tensors: Name -> what should be a dense tensor; arrays stay as they are.

    Returns:
        Name -> array, as `to_numpy` gives it.

    Raises:
        InputError: A name is no text, `to_numpy` refuses a tensor, or all together are larger as
            float32 than the largest file, as those that share their memory may be.
    """
    if other := [name for name in tensors if not isinstance(name, str)]:
        raise InputError(f"{other[0]!r:.80} is no name of a weight")
    given = {name: value for name, value in tensors.items() if not isinstance(value, np.ndarray)}
    sizes = {name: 4 * _whole(name, value).numel() for name, value in given.items()}
    if (size := sum(sizes.values())) > bounds.UNPACKED:
        largest = max(sizes, key=sizes.__getitem__)
        raise InputError(
            f"its tensors take {bounds.shown_bytes(size)} in all, {largest!r:.80} the most, and the limit is "
            f"{bounds.shown_bytes(bounds.UNPACKED)}"
        )
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in tensors.items():
        arrays[name] = value if isinstance(value, np.ndarray) else to_numpy(name, value)
    return arrays


def to_numpy(name: object, tensor: object) -> NDArray[Any]:
    """Convert a tensor that was read from a file.

    Args:
        name: For the message.
        tensor: What should be a dense tensor.

    Returns:
        An array of the same shape and dtype; float32 for bfloat16, which NumPy lacks.

    Raises:
        InputError: It is no dense tensor, is not stored whole, or has a dtype that NumPy lacks.
    """
    tensor = _whole(name, tensor)
    try:
        if tensor.dtype == torch.bfloat16:  # NumPy has no such type
            tensor = tensor.float()
        array: NDArray[Any] = tensor.detach().cpu().contiguous().numpy()
    except (TypeError, RuntimeError) as error:
        what = f"{name!r} is {tensor.dtype} on {tensor.device}, which NumPy cannot hold"
        raise InputError(what, "Save it as float32.") from error
    return array


def _whole(name: object, tensor: object) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
        raise InputError(f"{name!r} must be a dense tensor")
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():  # a few bytes seen as many
        raise InputError(f"{name!r} of shape {tuple(tensor.shape)} is not stored whole")
    return tensor
