"""A recurrent layer that trains on a CPU: `recurrence.c` behind torch's call of a layer, with gradients.

torch computes a step of a narrow layer in a dozen operations, each of which takes longer to begin than to do.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from drnn_core.errors import InputError
from drnn_models.cell_modules import ResetBeforeGRU
from drnn_models.dilated_rnn import call_layer
from drnn_models.subnormals import subnormals_are_zero
from drnn_runtimes.native.compiler import load_recurrence

WIDEST = 128  # units; of wider layers torch's own products are nearly as fast, and use all cores
_CELLS = {"TANH": (1, 1), "RELU": (1, 1), "GRU_AFTER": (3, 4), "GRU_BEFORE": (3, 3), "LSTM": (4, 4)}  # gates and sums
_WEIGHTS = "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"
_INTS = "cell", "steps", "rows", "inputs", "hidden"
_ARRAYS = "x", "h", "c", "w", "u", "w_across", "u_across", "bias", "y", "cells", "kept", "dy", "dh", "dc", "dx"
_T = TypeVar("_T")


class _Layer(ctypes.Structure):
    """`struct layer`."""

    arrays: dict[str, Tensor | None]

    _fields_ = (*((name, ctypes.c_int) for name in _INTS), *((name, ctypes.c_void_p) for name in _ARRAYS))


def run_layer(layer: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Call a layer as torch does; on a CPU, in float32 and of at most `WIDEST` units through the compiled kernel.

    What else there is torch computes, or refuses: other types, autocast, what is traced, and shapes that do not fit.

    Args:
        layer: An `nn.RNN`, `nn.GRU` or `nn.LSTM` of one layer, or a `ResetBeforeGRU`.
        x: (T, N, C).
        state: h (1, N, H), of an LSTM (h, c).

    Returns:
        The outputs (T, N, H), and the state after the last step. They have first derivatives only.

    Raises:
        InputError: In the backward pass: second derivatives (`create_graph`) are asked for.
        RuntimeUnavailableError: The kernel cannot be compiled here.
    """
    h, c = state if isinstance(state, tuple) else (state, state)
    cell, weights = _cell(layer), dict(layer.named_parameters())
    if not _fits(cell, weights, x, h, c):
        return call_layer(layer, x, state)
    w, u, *biases = (weights[name] for name in _WEIGHTS)
    arrays = x, h[0], c[0], w, u, _bias(cell, *biases)
    y, last = _Recurrence.apply(cell, torch.is_grad_enabled(), *arrays)  # type: ignore[no-untyped-call]
    return y, (y[-1:], last[None]) if isinstance(state, tuple) else y[-1:]


def _fits(cell: str, weights: Mapping[str, Tensor], x: Tensor, h: Tensor, c: Tensor) -> bool:
    """Whether a call is one that the kernel computes; of any other torch says what is wrong, or computes it.

    The kernel takes addresses: of another type, size or place it would read what is not there.
    """
    arrays = [x, h, c, *weights.values()]
    if set(weights) != set(_WEIGHTS) or not all(map(_is_plain, arrays)) or x.ndim != 3 or not x.numel():
        return False
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return False
    (_, rows, features), hidden = x.shape, weights["weight_hh_l0"].shape[-1]
    gates = _CELLS[cell][0] * hidden
    shapes = {"weight_ih_l0": (gates, features), "weight_hh_l0": (gates, hidden)}
    if any(value.shape != shapes.get(name, (gates,)) for name, value in weights.items()):
        return False
    return h.shape == c.shape == (1, rows, hidden) and hidden <= WIDEST and max(x.shape) < 1 << 31  # a C int


def _is_plain(array: Tensor) -> bool:
    """Whether it is float32 numbers in this process's memory, and not what stands for some while torch traces."""
    return type(array) in (Tensor, nn.Parameter) and array.dtype == torch.float32 and array.device.type == "cpu"


def _cell(layer: nn.Module) -> str:
    if isinstance(layer, nn.RNN):
        return str(layer.nonlinearity).upper()
    if isinstance(layer, nn.LSTM):
        return "LSTM"
    return "GRU_BEFORE" if isinstance(layer, ResetBeforeGRU) else "GRU_AFTER"


def _bias(cell: str, of_inputs: Tensor, of_past: Tensor) -> Tensor:
    """(sums * H,): where the sums of `recurrence.c` start."""
    if cell != "GRU_AFTER":
        return of_inputs + of_past
    gates = len(of_past) // 3 * 2
    return torch.cat([of_inputs[:gates] + of_past[:gates], of_inputs[gates:], of_past[gates:]])


class _Recurrence(torch.autograd.Function):
    """Outputs (T, N, H), and of an LSTM the last c (N, H)."""

    @staticmethod
    def forward(ctx: Any, cell: str, gradients: bool, *arrays: Tensor) -> Any:
        x, h, c, w, u, bias = (array.contiguous() for array in arrays)
        (steps, rows, features), hidden, sums = x.shape, h.shape[1], _CELLS[cell][1]
        y, wanted = x.new_empty(steps, rows, hidden), gradients and any(ctx.needs_input_grad)
        cells = x.new_empty(steps if cell == "LSTM" else 0, rows, hidden)
        kept = x.new_empty(steps if wanted and sums > 1 else 0, rows, sums, hidden)
        layer = _layer(
            cell,
            x=x,
            h=h,
            c=c,
            w_across=w.view(-1, hidden, features).transpose(1, 2).contiguous(),
            u_across=u.view(-1, hidden, hidden).transpose(1, 2).contiguous(),
            bias=bias,
            y=y,
            cells=cells,
            kept=kept,
        )
        forward = load_recurrence().recurrence_forward
        _over_rows(layer, lambda *place: forward(ctypes.byref(layer), *place))
        ctx.cell = cell
        ctx.save_for_backward(x, h, c, w, u, y, cells, kept)
        return y, cells[-1:].sum(0)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, dc: Tensor) -> Any:
        if torch.is_grad_enabled():  # create_graph: torch would take what C computes for constants
            raise InputError(
                "the compiled kernel of a recurrent layer has no second derivatives",
                "Let PyTorch compute the layers: network.call_layer = drnn_models.dilated_rnn.call_layer.",
            )
        x, h, c, w, u, y, cells, kept = ctx.saved_tensors
        features, hidden = x.shape[2], h.shape[1]
        dh, dc = torch.zeros_like(h), dc.clone(memory_format=torch.contiguous_format)
        dx = torch.empty_like(x) if ctx.needs_input_grad[2] else None
        sizes = [w.numel(), u.numel(), _CELLS[ctx.cell][1] * hidden]
        layer = _layer(
            ctx.cell,
            x=x,
            h=h,
            c=c,
            w=w,
            u=u,
            y=y,
            cells=cells,
            kept=kept,
            dy=dy.contiguous(),
            dh=dh,
            dc=dc,
            dx=dx,
        )
        backward = load_recurrence().recurrence_backward

        def of_rows(first: int, end: int, scratch: ctypes.c_void_p) -> Tensor:
            sums = dy.new_zeros(sum(sizes))
            pointers = [ctypes.c_void_p(part.data_ptr()) for part in torch.split(sums, sizes)]
            backward(ctypes.byref(layer), first, end, *pointers, scratch)
            return sums

        dw, du, dbias = torch.split(torch.stack(_over_rows(layer, of_rows)).sum(0), sizes)
        dw = dw.view(-1, features, hidden).transpose(1, 2).reshape(w.shape)
        du = du.view(-1, hidden, hidden).transpose(1, 2).reshape(u.shape)
        return None, None, dx, dh, dc if ctx.cell == "LSTM" else None, dw, du, dbias


def _layer(cell: str, *, x: Tensor, h: Tensor, **others: Tensor | None) -> _Layer:
    """The layer with these arrays, which live as long as it does. `_CELLS` has the order of `enum cell`."""
    layer = _Layer(list(_CELLS).index(cell), *x.shape, h.shape[1])
    layer.arrays = {"x": x, "h": h, **others}
    for name, array in layer.arrays.items():
        setattr(layer, name, None if array is None or not array.numel() else array.data_ptr())
    return layer


def _over_rows(layer: _Layer, work: Callable[[int, int, ctypes.c_void_p], _T]) -> list[_T]:
    """Do blocks of rows on torch's number of threads. work: gets its first row, the end, and its scratch."""
    library = load_recurrence()
    block, size = library.recurrence_block(), library.recurrence_scratch(ctypes.byref(layer))
    blocks = -(-layer.rows // block)
    threads = min(torch.get_num_threads(), blocks)
    edges = [min(blocks * thread // threads * block, layer.rows) for thread in range(threads + 1)]

    def part(first: int, end: int) -> _T:
        scratch = torch.empty(size, dtype=torch.float32, device="cpu")
        return work(first, end, ctypes.c_void_p(scratch.data_ptr()))

    if threads == 1:
        return [part(0, layer.rows)]
    pool = _pool(threads, os.getpid(), subnormals_are_zero())
    return list(pool.map(part, edges[:-1], edges[1:]))


@functools.cache
def _pool(threads: int, process: int, zero: bool) -> ThreadPoolExecutor:
    """Threads of this process, for one that it forks has none of them, to which subnormals are what they are to it."""
    return ThreadPoolExecutor(threads, initializer=torch.set_flush_denormal, initargs=(zero,))
