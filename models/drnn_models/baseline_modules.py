"""The torch modules of `drnn_models.baseline_specs`: batch-first at the edge, zero initial state."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from drnn_core.arguments import checked_arguments
from drnn_models.baseline_specs import ConvSpec, NetworkSpec, SkipSpec
from drnn_models.cell_modules import STEPS, initialise
from drnn_models.dilated_rnn import DilatedRNN, embed, embedding_for
from drnn_models.spec import ModelSpec


class SkipRNN(nn.Module):
    """The network of a `SkipSpec`. It ignores `prune`: the edges from t-1 need every step."""

    @checked_arguments
    def __init__(self, spec: SkipSpec) -> None:
        super().__init__()
        self.spec = spec
        stack = spec.stack
        self.embedding = embedding_for(spec.input)
        sizes = zip(stack.layer_inputs(), stack.hidden, stack.dilations, strict=True)
        self.layers = nn.ModuleList(_SkipLayer(stack, features, hidden, skip) for features, hidden, skip in sizes)
        for layer in self.layers:
            initialise(layer, stack.cell)
        self.head = nn.Linear(stack.hidden[-1], spec.head.outputs)

    def forward(self, inputs: Tensor, *, prune: bool = True) -> Tensor:
        """Compute whole sequences.

        Args:
            inputs: (B, T, C) float, or (B, T) int64 tokens.
            prune: Ignored.

        Returns:
            (B, outputs) for head `last`, else (B, k, outputs).
        """
        x = embed(self.spec.input, self.embedding, inputs, self.head.weight.dtype).transpose(0, 1)
        for layer in self.layers:
            x = layer(x)
        steps = self.spec.head.output_steps(len(x))
        return _read_out(self.head, self.spec.head.kind, x[-steps:].transpose(0, 1))


class _SkipLayer(nn.Module):
    """h_t = cell(x_t, [h_{t-1}; h_{t-skip}]); gate order and parameter names are those of torch's cells."""

    def __init__(self, stack: ModelSpec, features: int, hidden: int, skip: int) -> None:
        super().__init__()
        rows = stack.gates * hidden
        self.step, self.activation, self.hidden, self.skip = STEPS[stack.cell], stack.activation, hidden, skip
        self.weight_ih_l0 = nn.Parameter(torch.empty(rows, features))
        self.weight_hh_l0 = nn.Parameter(torch.empty(rows, 2 * hidden))
        self.bias_ih_l0 = nn.Parameter(torch.empty(rows))
        self.bias_hh_l0 = nn.Parameter(torch.empty(rows))

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, C) -> (T, B, H)."""
        zeros = x.new_zeros(x.shape[1], self.hidden)
        outputs: list[Tensor] = []
        h, c = zeros, zeros
        for step, gates in enumerate(functional.linear(x, self.weight_ih_l0, self.bias_ih_l0).unbind()):
            skipped = outputs[step - self.skip] if step >= self.skip else zeros
            recurrent = functional.linear(torch.cat([h, skipped], dim=-1), self.weight_hh_l0, self.bias_hh_l0)
            h, c = self.step(gates, recurrent, h, c, self.activation)
            outputs.append(h)
        return torch.stack(outputs)


class DilatedCNN(nn.Module):
    """The network of a `ConvSpec`. It ignores `prune`."""

    @checked_arguments
    def __init__(self, spec: ConvSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = embedding_for(spec.input)
        sizes = zip(spec.layer_inputs(), spec.channels, spec.dilations, strict=True)
        self.layers = nn.ModuleList(nn.Conv1d(i, o, kernel_size=2, dilation=d) for i, o, d in sizes)
        self.head = nn.Linear(spec.channels[-1], spec.head.outputs)

    def forward(self, inputs: Tensor, *, prune: bool = True) -> Tensor:
        """Compute whole sequences.

        Args:
            inputs: (B, T, C) float, or (B, T) int64 tokens.
            prune: Ignored.

        Returns:
            (B, outputs) for head `last`, else (B, k, outputs).
        """
        x = embed(self.spec.input, self.embedding, inputs, self.head.weight.dtype).transpose(1, 2)  # (B, C, T)
        for layer, dilation in zip(self.layers, self.spec.dilations, strict=True):
            y = layer(functional.pad(x, (dilation, 0))).relu()
            x = x + y if x.shape == y.shape else y
        steps = self.spec.head.output_steps(x.shape[2])
        return _read_out(self.head, self.spec.head.kind, x[:, :, -steps:].transpose(1, 2))


Network = DilatedRNN | SkipRNN | DilatedCNN


def make_network(spec: NetworkSpec) -> Network:
    """Make the torch module of any spec, freshly initialised."""
    match spec:
        case ModelSpec():
            return DilatedRNN(spec)
        case SkipSpec():
            return SkipRNN(spec)
        case ConvSpec():
            return DilatedCNN(spec)


def _read_out(head: nn.Linear, kind: str, top: Tensor) -> Tensor:
    """(B, k, features) -> (B, outputs) for head `last`, else (B, k, outputs)."""
    outputs: Tensor = head(top)
    return outputs[:, -1] if kind == "last" else outputs
