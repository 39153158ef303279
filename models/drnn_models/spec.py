"""`ModelSpec`: what a dilated recurrent network is, without its weights. Needs neither torch nor NumPy.

h_t = cell(x_t, h_{t-d_l})        layer l with dilation d_l, zero state for t - d_l < 0   (Chang et al. 2017, eq. 2)
"""

from __future__ import annotations

import dataclasses
import json
import numbers
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

from drnn_core.arguments import named_fields
from drnn_core.errors import SpecError
from drnn_core.plain_data import check_plain
from drnn_models.cells import CELLS, Activation, Cell, Reset

HeadKind = Literal["last", "last_k", "sequence"]

_LARGEST = 1 << 24  # of any size in a spec: a hostile file must not make us allocate without bound
_MOST_LAYERS = 64
_LONGEST_SHOWN = 100  # characters of a wrong value in a message


@named_fields
@dataclasses.dataclass(frozen=True)
class Continuous:
    """Real-valued input: each time step is a vector of `features` float32 values."""

    features: int = 1
    kind: Literal["continuous"] = "continuous"

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", _positive("input.features", self.features))
        _one_of("input.kind", self.kind, ("continuous",))

    @property
    def width(self) -> int:
        """Features that the first layer sees per step."""
        return self.features


@named_fields
@dataclasses.dataclass(frozen=True)
class Tokens:
    """Symbols 0 .. `vocabulary` - 1 (int64).

    Attributes:
        vocabulary: The number of symbols.
        embedding: Columns of the trained table that they are looked up in; None for one-hot vectors.
    """

    vocabulary: int
    embedding: int | None = None
    kind: Literal["tokens"] = "tokens"

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocabulary", _positive("input.vocabulary", self.vocabulary))
        if self.embedding is not None:
            object.__setattr__(self, "embedding", _positive("input.embedding", self.embedding))
        _one_of("input.kind", self.kind, ("tokens",))

    @property
    def width(self) -> int:
        """Features that the first layer sees per step."""
        return self.vocabulary if self.embedding is None else self.embedding


@named_fields
@dataclasses.dataclass(frozen=True)
class Head:
    """What the network returns.

    Attributes:
        kind: `last` gives (B, outputs); `last_k` gives (B, min(steps, T), outputs); `sequence` gives (B, T, outputs).
        outputs: Values of each step that has an output.
        steps: How many of the last steps have one, with `last_k`.
    """

    kind: HeadKind
    outputs: int
    steps: int = 1

    def __post_init__(self) -> None:
        _one_of("head.kind", self.kind, get_args(HeadKind))
        for name in ("outputs", "steps"):
            object.__setattr__(self, name, _positive(f"head.{name}", getattr(self, name)))
        if self.kind != "last_k" and self.steps != 1:
            raise SpecError(f"spec.head.steps: only head 'last_k' takes steps, got {self.steps} with '{self.kind}'")

    def output_steps(self, length: int) -> int:
        """Time steps that get an output for an input of `length` steps."""
        return length if self.kind == "sequence" else min(self.steps, length)


@named_fields
@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A stack of dilated recurrent layers with a linear head.

    Attributes:
        cell: The recurrent cell of every layer.
        hidden: The width of each layer.
        dilations: The dilation of each layer.
        input: What a time step is.
        head: What the network returns.
        activation: The nonlinearity of an RNN.
        fusion: Whether the head reads the last `dilations[0]` outputs of the top layer, oldest first, and not only the
            last one: the paper's 1-by-d_0 fusion convolution, merged with the linear output map as the authors do.
            By default it does where `dilations[0] > 1`.
        reset: Whether a GRU resets after the recurrent product, as torch does, or before it, as the authors' TensorFlow
            code does.

    Raises:
        SpecError: The fields do not make a network. The message names the field.
    """

    cell: Cell
    hidden: tuple[int, ...]
    dilations: tuple[int, ...]
    input: Continuous | Tokens
    head: Head
    activation: Activation = "tanh"
    fusion: bool | None = None  # None: exactly where dilations[0] > 1
    reset: Reset = "after"

    def __post_init__(self) -> None:
        _one_of("cell", self.cell, tuple(CELLS))
        for name in ("hidden", "dilations"):
            object.__setattr__(self, name, _sizes(name, getattr(self, name)))
        if len(self.hidden) != len(self.dilations):
            raise SpecError(
                f"spec.dilations: {len(self.dilations)} dilations for {len(self.hidden)} layers in spec.hidden"
            )
        _instance("input", self.input, (Continuous, Tokens))
        _instance("head", self.head, (Head,))
        _one_of("activation", self.activation, get_args(Activation))
        _one_of_the_cells("activation", self.activation, self.cell, {n: info.activations for n, info in CELLS.items()})
        _one_of("reset", self.reset, get_args(Reset))
        _one_of_the_cells("reset", self.reset, self.cell, {n: info.resets for n, info in CELLS.items()})
        if self.fusion is None:
            object.__setattr__(self, "fusion", self.dilations[0] > 1)
        _instance("fusion", self.fusion, (bool,))
        if self.fusion and self.dilations[0] == 1:
            raise SpecError("spec.fusion: needs a first dilation > 1, got spec.dilations[0] = 1")

    @property
    def layers(self) -> int:
        """Number of recurrent layers."""
        return len(self.hidden)

    @property
    def short_name(self) -> str:
        """A name for reports, for example "lstm 9 x 20, dilations 1 to 256"."""
        sizes = f"{self.layers} x {self.hidden[0]}" if len(set(self.hidden)) == 1 else ", ".join(map(str, self.hidden))
        low, high = min(self.dilations), max(self.dilations)
        return (
            f"{self.cell} {sizes}, dilations {low} to {high}" if low < high else f"{self.cell} {sizes}, dilation {low}"
        )

    @property
    def gates(self) -> int:
        """Gate blocks in a layer's weights: 1 (RNN), 3 (GRU), 4 (LSTM)."""
        return len(CELLS[self.cell].torch)

    @property
    def cell_states(self) -> str:
        """What a layer carries from step to step, a letter each: "h", of an LSTM "hc"."""
        return CELLS[self.cell].states

    @property
    def window(self) -> int:
        """Consecutive top-layer outputs that one output of the head reads: `dilations[0]` with fusion, else 1."""
        return self.dilations[0] if self.fusion else 1

    def layer_inputs(self) -> tuple[int, ...]:
        """Input features of each layer."""
        return (self.input.width, *self.hidden[:-1])

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every weight, as in the torch module's state dict, with torch's gate order."""
        shapes: dict[str, tuple[int, ...]] = {}
        if isinstance(self.input, Tokens) and self.input.embedding is not None:
            shapes["embedding.weight"] = (self.input.vocabulary, self.input.embedding)
        for layer, (features, hidden) in enumerate(zip(self.layer_inputs(), self.hidden, strict=True)):
            rows = self.gates * hidden
            shapes[f"layers.{layer}.weight_ih_l0"] = (rows, features)
            shapes[f"layers.{layer}.weight_hh_l0"] = (rows, hidden)
            shapes[f"layers.{layer}.bias_ih_l0"] = (rows,)
            shapes[f"layers.{layer}.bias_hh_l0"] = (rows,)
        shapes["head.weight"] = (self.head.outputs, self.window * self.hidden[-1])
        shapes["head.bias"] = (self.head.outputs,)
        return shapes

    def state_shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """The states between two pieces of a sequence.

        Args:
            batch: The number of sequences B.

        Returns:
            Name -> (B, d, H): the last d vectors of each layer, oldest first, and the past of the fusion window.
        """
        shapes: dict[str, tuple[int, ...]] = {
            f"l{layer}_{state}": (batch, dilation, hidden)
            for layer, (dilation, hidden) in enumerate(zip(self.dilations, self.hidden, strict=True))
            for state in self.cell_states
        }
        if self.window > 1:
            shapes["fusion"] = (batch, self.window - 1, self.hidden[-1])
        return shapes

    def to_json(self) -> dict[str, Any]:
        """The spec in plain JSON types; `from_json` makes an equal spec of it."""
        return cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(self))))

    @classmethod
    def from_json(cls, data: object) -> ModelSpec:
        """Read the form of `to_json`.

        Raises:
            SpecError: A field is unknown, missing or mistyped.
        """
        fields = dict(_record("", data, cls))
        entry = fields["input"]
        kind = entry.get("kind") if isinstance(entry, Mapping) else None
        _one_of("input.kind", kind, ("continuous", "tokens"))
        input_type = Continuous if kind == "continuous" else Tokens
        fields["input"] = input_type(**_record("input", entry, input_type))
        fields["head"] = Head(**_record("head", fields["head"], Head))
        return cls(**fields)


def _record(name: str, data: object, cls: type) -> Mapping[str, Any]:
    where = f"spec.{name}" if name else "spec"
    if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
        raise SpecError(f"{where}: must be an object, got {type(data).__name__}")
    fields = dataclasses.fields(cls)
    if unknown := sorted(set(data) - {field.name for field in fields}):
        raise SpecError(f"{where}: unknown field {', '.join(repr(key) for key in unknown)}")
    required = {field.name for field in fields if field.default is dataclasses.MISSING}
    if missing := sorted(required - set(data)):
        raise SpecError(f"{where}: missing field {', '.join(repr(key) for key in missing)}")
    return data


def _positive(name: str, value: object) -> int:
    """A whole number, also one of NumPy's, as JSON has it."""
    number = int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else 0
    if not 1 <= number <= _LARGEST:
        raise SpecError(f"spec.{name}: must be a whole number from 1 to {_LARGEST}, got {_shown(value)}")
    return number


def _sizes(name: str, values: object) -> tuple[int, ...]:
    if not isinstance(values, (list, tuple)) or not 1 <= len(values) <= _MOST_LAYERS:
        raise SpecError(f"spec.{name}: must be a list of 1 to {_MOST_LAYERS} whole numbers, got {_shown(values)}")
    return tuple(_positive(f"{name}[{index}]", value) for index, value in enumerate(values))


def _shown(value: object) -> str:
    """`repr` of what a hostile file may have chosen: never long, and never an error of its own."""
    try:
        check_plain(value)
        text = repr(value)
    except ValueError:  # nested too deep, or a number of thousands of digits
        return f"an unprintable {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SpecError(f"spec.{name}: must be one of {', '.join(allowed)}, got {_shown(value)}")


def _one_of_the_cells(name: str, value: str, cell: Cell, choices: Mapping[Cell, tuple[str, ...]]) -> None:
    if value not in choices[cell]:
        others = " or ".join(f"'{other}'" for other, allowed in choices.items() if value in allowed)
        raise SpecError(f"spec.{name}: '{value}' is only for cell {others}, not '{cell}'")


def _instance(name: str, value: object, types: tuple[type, ...]) -> None:
    if not isinstance(value, types):
        raise SpecError(f"spec.{name}: must be {' or '.join(t.__name__ for t in types)}, got {type(value).__name__}")
