"""`DilatedRNN`: the network as a torch module, batch-first at its edge, time-major and folded inside."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError
from drnn_core.plain_data import parse_json
from drnn_models.cell_modules import LAYERS, initialise
from drnn_models.cone import Indices, as_slice, plan_cone
from drnn_models.spec import Continuous, ModelSpec, Tokens

State = dict[str, Tensor]  # name -> (B, d, H), see ModelSpec.state_shapes
Drop = Callable[[Tensor], Tensor]  # what a layer delivers, (steps, B, H) -> what is read of it
_SAYS_MORE = ("dilations", "activation", "reset")  # of a spec, than the shapes of the weights
CallLayer = Callable[[nn.Module, Tensor, Any], tuple[Tensor, Any]]  # layer, its inputs and state -> outputs and state


def call_layer(layer: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """Compute a layer as torch does.

    Args:
        layer: A torch layer, called as `nn.RNN`, `nn.GRU` or `nn.LSTM` is.
        x: (T, N, C).
        state: The state before the first step, (1, N, H), of an LSTM two of them.

    Returns:
        The outputs (T, N, H) and the state after the last step.
    """
    outputs: tuple[Tensor, Any] = layer(x, state)
    return outputs


class DilatedRNN(nn.Module):
    """The network that a `ModelSpec` describes.

    `forward` takes whole sequences from a zero state and computes only what reaches the output (cone pruning);
    `advance` carries state, so that a sequence fed in pieces of any lengths gives what the whole gives.
    """

    @checked_arguments
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.call_layer: CallLayer = call_layer
        self.embedding = embedding_for(spec.input)
        make, sizes = LAYERS[spec.cell], zip(spec.layer_inputs(), spec.hidden, strict=True)
        self.layers = nn.ModuleList(make(spec, features, hidden) for features, hidden in sizes)
        for layer in self.layers:
            initialise(layer, spec.cell)
        self.head = nn.Linear(spec.window * spec.hidden[-1], spec.head.outputs)
        self._indices: dict[tuple[torch.device, int, int], Tensor] = {}  # of `_selected`

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Put the spec into the state dict's metadata, which `torch.save` keeps: the weights do not say it all."""
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]]["spec"] = json.dumps(self.spec.to_json())

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, *lists: list[str]
    ) -> None:
        """Refuse the weights of a network that computes otherwise with them, where the state dict says what it is."""
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *lists)
        own, other = self.spec.to_json(), _spec_in(local_metadata)
        lists[-1].extend(
            f"the weights are of a network with {name} {other[name]}, and this one has {own[name]}. "
            "To load them all the same, give dict(state_dict)."
            for name in _SAYS_MORE
            if name in other and other[name] != own[name]
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_indices": {}}  # a copy may be loaded onto another device

    def forward(self, inputs: Tensor, *, prune: bool = True, drop: Drop | None = None) -> Tensor:
        """Run whole sequences from a zero state.

        Args:
            inputs: (B, T, C) float, or (B, T) int64 tokens, with any T >= 1.
            prune: Whether to compute only the steps that reach the output. Outputs and gradients are the same.
            drop: Changes what each layer delivers, in time order, before the next one or the head reads it: dropout.

        Returns:
            (B, outputs) for head `last`, else (B, k, outputs).
        """
        x = self._embed(inputs)  # (T, B, C)
        length, batch = x.shape[:2]
        plan = plan_cone(self.spec, length, prune=prune)
        for number, (layer, layer_plan) in enumerate(zip(self.layers, plan.layers, strict=True)):
            if layer_plan.select is not None:
                x = self._selected(x, layer_plan.select, (x.device, length, number))
            zeros = x.new_zeros(layer_plan.fold, batch, cast(int, layer.hidden_size))
            x, _ = run_folded(layer, x, (zeros,) * len(self.spec.cell_states), self.call_layer)
            x = drop(x) if drop else x
        past = x.new_zeros(self.spec.window - 1, batch, self.spec.hidden[-1])
        return self._read_out(torch.cat([past, x[-plan.head_steps :]]), length)

    def advance(self, inputs: Tensor, state: State | None = None, *, drop: Drop | None = None) -> tuple[Tensor, State]:
        """Run a piece of longer sequences.

        Args:
            inputs: (B, T, C) float, or (B, T) int64 tokens, with any T >= 1.
            state: What the piece before returned; None is a zero state.
            drop: As of `forward`. A layer's own state is never dropped, the past of the fusion window is what was read.

        Returns:
            The outputs of the piece's own steps (head `last`: its last step; `last_k`: its last min(k, T)), and the
            state after it: name -> (B, d, H), see `ModelSpec.state_shapes`.
        """
        x = self._embed(inputs)
        length, batch = x.shape[:2]
        state = self.initial_state(batch) if state is None else self._checked(state, batch)
        after: State = {}
        for index, layer in enumerate(self.layers):
            names = [f"l{index}_{letter}" for letter in self.spec.cell_states]
            x, lines = run_folded(layer, x, tuple(state[name].transpose(0, 1) for name in names), self.call_layer)
            x = drop(x) if drop else x
            after |= {name: line.transpose(0, 1) for name, line in zip(names, lines, strict=True)}
        window = self.spec.window
        top = torch.cat([state["fusion"].transpose(0, 1), x]) if window > 1 else x  # (window - 1 + T, B, H)
        if window > 1:
            after["fusion"] = top[1 - window :].transpose(0, 1)
        return self._read_out(top, length), after

    def initial_state(self, batch: int) -> State:
        """The zero state for `batch` sequences."""
        like = self.head.weight
        return {name: like.new_zeros(shape) for name, shape in self.spec.state_shapes(batch).items()}

    def _checked(self, state: State, batch: int) -> State:
        shapes = self.spec.state_shapes(batch)
        if {name: tuple(value.shape) for name, value in state.items()} != shapes:
            what = f"the state is not this network's for {batch} sequences"
            raise InputError(what, f"It has {shapes}: take what the piece before returned, or initial_state({batch}).")
        return state

    def _embed(self, inputs: Tensor) -> Tensor:
        """(B, T, C) or tokens (B, T) -> (T, B, C)."""
        return embed(self.spec.input, self.embedding, inputs, self.head.weight.dtype).transpose(0, 1)

    def _selected(self, x: Tensor, select: Indices, key: tuple[torch.device, int, int]) -> Tensor:
        """The rows `select` of x. key: the device, and what the indices depend on.

        Indices without even spacing stay on the device from the first call on: copied in each call, they would hold up
        the host, and no CUDA graph could record the copy. They stay as long as the module, so a graph may read them.
        """
        kept = as_slice(select)
        if kept is not None:
            return x[kept]
        index = self._indices.get(key)
        if index is None:
            with torch.inference_mode(False):  # of which a later training could not make use
                index = torch.from_numpy(select).to(x.device)
            if type(index) is Tensor:  # and not what stands for one while torch traces
                self._indices[key] = index
        return x[index]

    def _read_out(self, top: Tensor, length: int) -> Tensor:
        """Top-layer outputs, of which the last window - 1 + k rows count, (n, B, H) -> (B, k, outputs)."""
        steps, window = self.spec.head.output_steps(length), self.spec.window
        top = top[-(steps + window - 1) :]
        columns = torch.cat([top[shift : shift + steps] for shift in range(window)], dim=-1)  # oldest first
        outputs: Tensor = self.head(columns.transpose(0, 1))
        return outputs[:, -1] if self.spec.head.kind == "last" else outputs


def _spec_in(metadata: Any) -> dict[str, Any]:
    """What `_save_to_state_dict` wrote; nothing where that is not there."""
    try:
        found = parse_json(metadata["spec"])
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def embedding_for(source: Continuous | Tokens) -> nn.Embedding | None:
    """The trained table of a token input that has one."""
    if isinstance(source, Tokens) and source.embedding is not None:
        return nn.Embedding(source.vocabulary, source.embedding)
    return None


def embed(source: Continuous | Tokens, table: nn.Embedding | None, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """Make what the first layer sees.

    Args:
        source: The network's input.
        table: The embedding of tokens, if the input has one.
        inputs: (B, T, C) float, or (B, T) int64 tokens.
        dtype: The type of one-hot vectors.

    Returns:
        (B, T, C): the inputs as they are, or tokens looked up or one-hot.

    Raises:
        InputError: The inputs are no tensor of these axes, or there is no sequence or step.
    """
    axes = 2 if isinstance(source, Tokens) else 3
    right = isinstance(inputs, Tensor) and inputs.ndim == axes and inputs.is_floating_point() == (axes == 3)
    if not right or (axes == 3 and inputs.shape[2] != source.width):
        got = f"{inputs.dtype} {tuple(inputs.shape)}" if isinstance(inputs, Tensor) else type(inputs).__name__
        wanted = "an int64 tensor (B, T)" if axes == 2 else f"a float tensor (B, T, {source.width})"
        fix = "Of an array: torch.from_numpy; of one sequence: x[None]."
        raise InputError(f"the network reads {wanted}, got {got}", fix)
    if 0 in inputs.shape:
        what = f"there is nothing in inputs of shape {tuple(inputs.shape)}"
        raise InputError(what, "Give at least one sequence of at least one step.")
    if table is not None:
        return cast(Tensor, table(inputs))
    if isinstance(source, Tokens):
        one_hot = torch.zeros((*inputs.shape, source.vocabulary), dtype=dtype, device=inputs.device)
        return one_hot.scatter_(-1, inputs[..., None], 1.0)  # functional.one_hot makes twice the bytes on the way
    return inputs


def run_folded(
    layer: nn.Module, x: Tensor, lines: tuple[Tensor, ...], call: CallLayer = call_layer
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run a recurrent layer of dilation d as a plain one over about T/d steps (the paper's figure 1).

    Row p*B + b of a folded step holds phase p of sequence b. The T mod d steps at the end do not fill a folded step:
    they are one more cell evaluation on the first rows, so nothing is padded.

    Args:
        layer: A torch layer, called as `nn.RNN`, `nn.GRU` or `nn.LSTM` is.
        x: (T, B, C), time-major.
        lines: The delay lines (h,) or (h, c), each (d, B, H), oldest first.
        call: Computes the plain layer.

    Returns:
        The outputs (T, B, H), and the delay lines after the last step.
    """
    (length, batch, _), dilation = x.shape, lines[0].shape[0]
    full, rest = divmod(length, dilation)
    outputs: list[Tensor] = []
    if full:
        y, lines = _run(call, layer, x[: full * dilation].reshape(full, dilation * batch, -1), lines)
        outputs.append(y.reshape(full * dilation, batch, -1))
    if rest:
        y, last = _run(
            call, layer, x[full * dilation :].reshape(1, rest * batch, -1), tuple(line[:rest] for line in lines)
        )
        outputs.append(y.reshape(rest, batch, -1))
        lines = tuple(torch.cat([line[rest:], new]) for line, new in zip(lines, last, strict=True))
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs)), lines


def _run(
    call: CallLayer, layer: nn.Module, rows: Tensor, lines: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    phases, batch, hidden = lines[0].shape
    flat = tuple(line.reshape(1, phases * batch, hidden) for line in lines)
    outputs, state = call(layer, rows, flat if len(flat) == 2 else flat[0])
    states = state if isinstance(state, tuple) else (state,)
    return outputs, tuple(part.reshape(phases, batch, hidden) for part in states)
