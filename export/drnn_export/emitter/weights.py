"""The weights of a layer, gate by gate."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from drnn_models.cells import CELLS
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights

Array = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class LayerWeights:
    """One layer's weights with their gate blocks apart, all float32.

    Attributes:
        name: The layer's, under which its weights become constants, however many nodes use them.
        w: Gate letter -> (H, C).
        r: Gate letter -> (H, H).
        bw: Gate letter -> (H,), the bias of W x.
        br: Gate letter -> (H,), the bias of R h.
    """

    name: str
    w: dict[str, Array]
    r: dict[str, Array]
    bw: dict[str, Array]
    br: dict[str, Array]

    @classmethod
    def of(cls, spec: ModelSpec, weights: Weights, layer: int) -> LayerWeights:
        """Take one layer out of a network's weights.

        Args:
            spec: The network.
            weights: Tensor name -> array, in torch's names and order of gates.
            layer: The layer's number, from 0 at the input.
        """
        order = CELLS[spec.cell].torch

        def blocks(name: str) -> dict[str, Array]:
            return dict(zip(order, np.split(weights[f"layers.{layer}.{name}_l0"], len(order)), strict=True))

        parts = (blocks(part) for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        return cls(f"l{layer}", *parts)

    @property
    def features(self) -> int:
        """Inputs per step."""
        return int(next(iter(self.w.values())).shape[1])

    @property
    def hidden(self) -> int:
        """Units."""
        return len(next(iter(self.br.values())))


def stack(blocks: Mapping[str, Array], order: str) -> Array:
    """Gate blocks from top to bottom in the given order.

    Args:
        blocks: Gate letter -> (H, ...).
        order: The letters of the wanted gates.

    Returns:
        (G * H, ...) with G the number of letters.
    """
    return np.concatenate([blocks[gate] for gate in order])
