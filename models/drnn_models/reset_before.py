"""The GRU that resets before the recurrent product, as the authors' TensorFlow code does; torch's resets after it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ResetBeforeGRU(nn.Module):
    """One layer with the parameters and the call of `torch.nn.GRU`, gates r, z, n.

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
        """x: (T, N, C). state: (1, N, H). Returns the outputs (T, N, H) and the last one (1, N, H)."""
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
