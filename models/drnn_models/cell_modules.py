"""Every cell in torch: the module of one layer, and one step for layers that torch has no module for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from drnn_models.cells import CELLS, Activation, Cell
from drnn_models.spec import ModelSpec


def _rnn(spec: ModelSpec, features: int, hidden: int) -> nn.Module:
    return nn.RNN(features, hidden, nonlinearity=spec.activation)


def _gru(spec: ModelSpec, features: int, hidden: int) -> nn.Module:
    return nn.GRU(features, hidden) if spec.reset == "after" else ResetBeforeGRU(features, hidden)


def _lstm(spec: ModelSpec, features: int, hidden: int) -> nn.Module:
    return nn.LSTM(features, hidden)


# One layer's module from features and hidden units, with the parameters and the call of torch's.
LAYERS: dict[Cell, Callable[[ModelSpec, int, int], nn.Module]] = {"rnn": _rnn, "gru": _gru, "lstm": _lstm}


def _rnn_step(gates: Tensor, recurrent: Tensor, h: Tensor, c: Tensor, activation: Activation) -> tuple[Tensor, Tensor]:
    total = gates + recurrent
    return (total.relu() if activation == "relu" else total.tanh()), c


def _gru_step(gates: Tensor, recurrent: Tensor, h: Tensor, c: Tensor, _: Activation) -> tuple[Tensor, Tensor]:
    (r, z, n), (reset, update, new) = gates.chunk(3, dim=-1), recurrent.chunk(3, dim=-1)
    candidate = (n + (r + reset).sigmoid() * new).tanh()
    difference = h - candidate  # not torch.lerp, which refuses the mixed types of autocast
    return candidate + (z + update).sigmoid() * difference, c


def _lstm_step(gates: Tensor, recurrent: Tensor, h: Tensor, c: Tensor, _: Activation) -> tuple[Tensor, Tensor]:
    i, f, g, o = (gates + recurrent).chunk(4, dim=-1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


# One step from its two halves (B, G * H), h and c of the step before, and the activation -> h and c, (B, H) each.
STEPS: dict[Cell, Callable[[Tensor, Tensor, Tensor, Tensor, Activation], tuple[Tensor, Tensor]]] = {
    "rnn": _rnn_step,
    "gru": _gru_step,
    "lstm": _lstm_step,
}


@torch.no_grad()
def initialise(layer: nn.Module, cell: Cell) -> None:
    """Xavier-uniform input and orthogonal recurrent weights per gate, zero biases but 1 for an LSTM's forget gate.

    torch's own start, uniform in +-1/sqrt(H) throughout, lets the signal fade over nine narrow layers: copy memory then
    stays on a plateau. The forget bias is what the authors' code adds at run time.

    Args:
        layer: A cell module of one layer, whose parameters it sets in place.
        cell: Its kind, which names its gates in torch's order.
    """
    weights = dict(layer.named_parameters())
    gates, forget_gate = CELLS[cell].torch, CELLS[cell].forget_gate
    for block in weights["weight_ih_l0"].chunk(len(gates)):
        nn.init.xavier_uniform_(block)
    for block in weights["weight_hh_l0"].chunk(len(gates)):
        nn.init.orthogonal_(block)
    for gate, block in zip(gates, weights["bias_ih_l0"].chunk(len(gates)), strict=True):
        block.fill_(1.0 if gate == forget_gate else 0.0)
    weights["bias_hh_l0"].zero_()


class ResetBeforeGRU(nn.Module):
    """One layer with the parameters and the call of `torch.nn.GRU`, gates r, z, n, that resets before the product.

    The authors' TensorFlow code does so; torch's GRU resets after the recurrent product.

    r, z = sigmoid(W x + b_i + U h + b_h);  n = tanh(W_n x + b_in + U_n (r * h) + b_hn);  h' = (1 - z) * n + z * h
    (Cho et al. 2014; the ONNX operator GRU with linear_before_reset = 0).
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        rows = 3 * hidden_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(rows))
        self.bias_hh_l0 = nn.Parameter(torch.empty(rows))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run the layer over T steps.

        Args:
            x: (T, N, C).
            state: The state before the first step, (1, N, H).

        Returns:
            The outputs (T, N, H) and the last one (1, N, H).
        """
        size, h = self.hidden_size, state[0]
        fed = functional.linear(x, self.weight_ih_l0, self.bias_ih_l0 + self.bias_hh_l0)
        gates, new = fed[..., : 2 * size], fed[..., 2 * size :]
        recurrent_gates, recurrent_new = self.weight_hh_l0[: 2 * size].t(), self.weight_hh_l0[2 * size :].t()
        outputs = []
        for for_gates, for_new in zip(gates.unbind(), new.unbind(), strict=True):
            r, z = torch.addmm(for_gates, h, recurrent_gates).sigmoid().chunk(2, dim=-1)
            n = torch.addmm(for_new, r * h, recurrent_new).tanh()
            h = n + z * (h - n)  # not torch.lerp, which refuses the mixed types of autocast
            outputs.append(h)
        return torch.stack(outputs), h[None]
