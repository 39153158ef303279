"""What the node of a stack says: the contract between a graph, the plugin, and the kernel.

The node `drnn::DilatedStack` reads `rows` (B, T, C), `weights` (the bytes of `pack_weights` as int32) and, in forms
with state, `state_l0_h`, ... (B, d, H), oldest first. It gives `top`, what the top layer gives in the last `answers`
steps (B, answers, H), and `next_state_l0_h`, ...
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle.functions import DOMAIN
from drnn_runtimes.bundle.graph_kind import GraphKind, next_state_name, state_name
from drnn_runtimes.cuda_kernel.around import kernel_answers
from drnn_runtimes.cuda_kernel.images import plan_for
from drnn_runtimes.cuda_kernel.layout import streamed_plan
from drnn_runtimes.cuda_kernel.plan import KernelOptions, KernelPlan, WeightType
from drnn_runtimes.cuda_kernel.weights import pack_weights

OPSET = 1  # of the domain
VERSION = "1"  # of the plugin: raised whenever inputs, outputs, attributes or serialised fields change
ROWS, WEIGHTS, TOP = "rows", "weights", "top"
_REGISTRATION = {"plugin_namespace": DOMAIN, "plugin_version": VERSION}  # by which NVIDIA's parser finds the plugin


@dataclasses.dataclass(frozen=True)
class Stack:
    """The layers of a network, and what is computed of them.

    Attributes:
        cell: The recurrent cell of every layer.
        activation: The nonlinearity of an RNN.
        reset: Whether a GRU resets after the recurrent product or before it.
        features: Values of a row that the first layer reads.
        hidden: The width of each layer.
        dilations: The dilation of each layer.
        answers: How many of the last steps of the top layer are given.
        states: Whether delay lines go in and come out.
        pruned: Whether steps that cannot reach the answers are left out.
        precision: Of the weights, fp32 or fp16.
    """

    cell: str
    activation: str
    reset: str
    features: int
    hidden: tuple[int, ...]
    dilations: tuple[int, ...]
    answers: int
    states: bool
    pruned: bool
    precision: WeightType

    @classmethod
    def of(cls, spec: ModelSpec, graph: GraphKind, *, pruned: bool) -> Self:
        """The stack of a network in one of its graphs.

        Args:
            spec: The network.
            graph: The kind of the graph.
            pruned: Whether the graph leaves out steps that cannot reach the output.
        """
        states = graph.form != "sequence"
        return cls(
            spec.cell,
            spec.activation,
            spec.reset,
            spec.input.width,
            spec.hidden,
            spec.dilations,
            kernel_answers(spec, graph.steps),
            states,
            pruned and not states,
            cast(WeightType, graph.precision),
        )

    @classmethod
    def from_attributes(cls, values: Mapping[str, Any]) -> Self:
        """Read what `attributes` gives, which may come from anywhere.

        Args:
            values: Name -> text, a whole number or a sequence of them.

        Raises:
            InputError: They are no stack. The message names the attribute.
        """
        fields = {field.name: str(field.type) for field in dataclasses.fields(cls)}
        if missing := sorted(fields.keys() - values.keys()):
            raise InputError(f"the node of the stack has no attribute {missing[0]!r}")
        stack = cls(**{name: _value(name, kind, values[name]) for name, kind in fields.items()})
        if stack.answers < 1 or stack.precision not in ("fp32", "fp16") or (stack.states and stack.pruned):
            raise InputError("the node of the stack asks for what no kernel computes")
        stack.spec  # noqa: B018  which refuses the other fields
        return stack

    @property
    def spec(self) -> ModelSpec:
        """A network with these layers; nothing of its head counts.

        Raises:
            InputError: There is no such network.
        """
        values = {name: getattr(self, name) for name in ("cell", "hidden", "dilations", "activation", "reset")}
        return ModelSpec(**values, input=Continuous(self.features), head=Head("last", 1), fusion=False)

    def attributes(self) -> dict[str, Any]:
        """The attributes of the node: text, whole numbers, and lists of them."""
        values = dataclasses.asdict(self)
        plain = {name: int(value) if isinstance(value, bool) else value for name, value in values.items()}
        return plain | _REGISTRATION

    def inputs_and_outputs(self) -> tuple[list[str], list[str]]:
        """The names of what the function of the node reads and gives, in order."""
        lines = list(self.spec.state_shapes(1)) if self.states else []
        return [ROWS, WEIGHTS, *map(state_name, lines)], [TOP, *map(next_state_name, lines)]

    def packed(self, weights: Weights) -> NDArray[np.int32]:
        """The weights as the kernel reads them on every GPU.

        Args:
            weights: Name -> array, in torch's gate order.

        Raises:
            InputError: A weight is beyond the range of float16, in which it should be packed.
        """
        options = KernelOptions(weights=self.precision)
        return pack_weights(streamed_plan(self.spec, options, self.dilations, 1), weights).view(np.int32)

    def plan(self, architecture: str) -> KernelPlan:
        """The kernel of the stack.

        Args:
            architecture: The compute capability without its dot, for example "87".

        Raises:
            InputError: The kernel cannot compute the stack there.
        """
        answers = self.answers if self.pruned else None
        return plan_for(self.spec, architecture, answers=answers, weights=self.precision)


def _value(name: str, kind: str, value: Any) -> Any:
    """A field of `Stack` from what NVIDIA's parser or ONNX makes of the attribute."""
    try:
        if kind in ("str", "WeightType"):
            if not isinstance(value, (str, bytes, np.ndarray)):
                raise TypeError(value)  # of a number, `bytes` makes so many zeros
            return value if isinstance(value, str) else bytes(value).rstrip(b"\0").decode()
        numbers = tuple(int(number) for number in np.atleast_1d(np.asarray(value)))
        if kind.startswith("tuple"):
            return numbers
        (number,) = numbers
        if kind == "bool" and number not in (0, 1):
            raise ValueError(number)
        return bool(number) if kind == "bool" else number
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the node of the stack has an attribute {name!r} that is no {kind}") from error
