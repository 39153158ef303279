"""Specs of the networks that dilated ones are compared with: the skip RNN and the dilated CNN. Needs no torch.

They are trained and evaluated like a `ModelSpec`; nothing is exported from them. A network without dilations is a
`ModelSpec` whose dilations are all 1.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

from drnn_core.arguments import checked_fields, named_fields
from drnn_core.errors import SpecError
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens


@checked_fields
@dataclasses.dataclass(frozen=True)
class SkipSpec:
    """A regular skip RNN: every layer keeps the edge from t-1 beside the one from t-d (the paper's section 2).

    h_t = cell(x_t, [h_{t-1}; h_{t-d}]): all gates see both; what a GRU or LSTM carries over by itself (z * h, f * c)
    comes from t-1.

    Attributes:
        stack: Cell, layers, dilations, input and head. It has no fusion layer.

    Raises:
        SpecError: The stack has a fusion layer, or resets before the recurrent product.
    """

    stack: ModelSpec
    network: ClassVar[str] = "skip"

    def __post_init__(self) -> None:
        if self.stack.fusion:
            raise SpecError("spec.fusion: a skip RNN has none", "Leave it out, or set it to false.")
        if self.stack.reset != "after":
            raise SpecError("spec.reset: a skip RNN resets after the recurrent product", "Leave it out.")

    @property
    def input(self) -> Continuous | Tokens:
        """The stack's input."""
        return self.stack.input

    @property
    def head(self) -> Head:
        """The stack's head."""
        return self.stack.head

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape: the stack's, with recurrent weights (G * H, 2 * H) whose first H columns meet h_{t-1}."""
        shapes = self.stack.weight_shapes()
        for name, shape in shapes.items():
            if name.endswith("weight_hh_l0"):
                shapes[name] = (shape[0], 2 * shape[1])
        return shapes

    def to_json(self) -> dict[str, Any]:
        """The spec in plain JSON types; `read_spec` reads it."""
        return {"network": self.network, **self.stack.to_json()}


@named_fields
@dataclasses.dataclass(frozen=True)
class ConvSpec:
    """A dilated causal 1-d CNN: y_t = x_t + relu(W_0 x_{t-d} + W_1 x_t + b) per layer, zeros before the first step.

    Layers whose input and output differ in width, such as the first, do not add x_t. Kernels of two taps and doubled
    dilations make the receptive field of WaveNet (van den Oord et al. 2016).

    Attributes:
        channels: The output channels of each layer.
        dilations: The dilation of each layer.
        input: What a time step is.
        head: What the network returns.

    Raises:
        SpecError: The fields do not make a network. The message names the field.
    """

    channels: tuple[int, ...]
    dilations: tuple[int, ...]
    input: Continuous | Tokens
    head: Head
    network: ClassVar[str] = "cnn"

    def __post_init__(self) -> None:
        stack = self._stack()  # which checks what both have
        object.__setattr__(self, "channels", stack.hidden)
        object.__setattr__(self, "dilations", stack.dilations)

    def layer_inputs(self) -> tuple[int, ...]:
        """Input channels of each layer."""
        return (self.input.width, *self.channels[:-1])

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every weight, as in the torch module's state dict."""
        shapes: dict[str, tuple[int, ...]] = {}
        if isinstance(self.input, Tokens) and self.input.embedding is not None:
            shapes["embedding.weight"] = (self.input.vocabulary, self.input.embedding)
        for layer, (inputs, outputs) in enumerate(zip(self.layer_inputs(), self.channels, strict=True)):
            shapes[f"layers.{layer}.weight"] = (outputs, inputs, 2)
            shapes[f"layers.{layer}.bias"] = (outputs,)
        shapes["head.weight"] = (self.head.outputs, self.channels[-1])
        shapes["head.bias"] = (self.head.outputs,)
        return shapes

    def to_json(self) -> dict[str, Any]:
        """The spec in plain JSON types; `read_spec` reads it."""
        stack = self._stack().to_json()
        edges = {name: stack[name] for name in ("dilations", "input", "head")}
        return {"network": self.network, "channels": list(self.channels), **edges}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ConvSpec:
        """Read the form of `to_json`, without "network".

        Raises:
            SpecError: A field is unknown, missing or mistyped.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if odd := sorted(str(name) for name in set(data) ^ set(names)):
            raise SpecError(f"spec: network 'cnn' takes {', '.join(names)} and nothing else; look at {odd[0]!r}")
        rest = {name: value for name, value in data.items() if name != "channels"}
        with _hidden_called_channels():
            stack = ModelSpec.from_json({"cell": "rnn", "hidden": data["channels"], "fusion": False, **rest})
        return cls(stack.hidden, stack.dilations, stack.input, stack.head)

    def _stack(self) -> ModelSpec:
        with _hidden_called_channels():
            return ModelSpec("rnn", self.channels, self.dilations, self.input, self.head, fusion=False)


@contextlib.contextmanager
def _hidden_called_channels() -> Iterator[None]:
    try:
        yield
    except SpecError as error:
        raise SpecError(error.message.replace("spec.hidden", "spec.channels"), error.fix) from error


NetworkSpec = ModelSpec | SkipSpec | ConvSpec


def read_spec(data: object) -> NetworkSpec:
    """Read the JSON form of any network's spec; without "network" it is a dilated RNN's.

    Raises:
        SpecError: The data is no spec.
    """
    if not isinstance(data, dict) or "network" not in data:
        return ModelSpec.from_json(data)
    fields = {name: value for name, value in data.items() if name != "network"}
    match data["network"]:
        case "dilated":
            return ModelSpec.from_json(fields)
        case "skip":
            return SkipSpec(ModelSpec.from_json({"fusion": False, **fields}))
        case "cnn":
            return ConvSpec.from_json(fields)
        case other:
            raise SpecError(f"spec.network: must be dilated, skip or cnn, got {str(other)[:100]!r}")
