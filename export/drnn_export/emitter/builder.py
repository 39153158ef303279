"""A thin layer over onnx.helper: nodes and constants with unique readable names, which `finish` makes a model of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

DYNAMIC_BATCH = "batch"
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class GraphBuilder:
    """Collects nodes and constants in order. Names follow the layer and step, such as `l3/t017/gates`.

    Attributes:
        added: The nodes.
        constants: Name -> initialiser.
        declared: The outputs of loops, whose sizes onnx does not infer.
        functions: The local functions that nodes call.
    """

    def __init__(self) -> None:
        self.added: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.declared: list[onnx.ValueInfoProto] = []
        self.functions: list[onnx.FunctionProto] = []
        self._around: list[onnx.NodeProto] = []  # the nodes around the body that is open
        self._attributes: dict[tuple[str, str], onnx.AttributeProto] = {}
        self._reshaped: dict[str, str] = {}  # what a reshape reshapes
        self._shapes: dict[str, tuple[int, ...]] = {}  # where known

    def shape(self, name: str, shape: tuple[int, ...]) -> None:
        """Tell the builder the shape of a graph's input.

        Args:
            name: The input's name.
            shape: Its sizes; -1 for any.
        """
        self._shapes[name] = shape

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add an initialiser, once for each name.

        Args:
            name: The initialiser's name.
            value: Its value, of any shape and any type that ONNX has.

        Returns:
            The name.

        Raises:
            ValueError: The name already holds a value of another shape.
        """
        held = self.constants.get(name)
        if held is None:
            self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        elif tuple(held.dims) != value.shape:
            raise ValueError(f"constant {name!r} has two shapes: {tuple(held.dims)} and {value.shape}")
        return name

    def _integers(self, name: str, values: int | Sequence[int]) -> str:
        return self.constant(name, np.array(values, np.int64))

    def node(
        self, operator: str, inputs: Sequence[str], name: str, *, output: str | None = None, **attributes: Any
    ) -> str:
        """Add a node with one output.

        Args:
            operator: The ONNX operator.
            inputs: Names of values; "" leaves an optional input out.
            name: The node's name.
            output: The output's name; by default the node's.
            attributes: The operator's attributes.

        Returns:
            The output's name.
        """
        output = output or name
        self._add(operator, inputs, [output], name, attributes)
        return output

    def nodes(
        self, operator: str, inputs: Sequence[str], name: str, labels: Sequence[str], **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs.

        Args:
            operator: The ONNX operator.
            inputs: Names of values; "" leaves an optional input out.
            name: The node's name.
            labels: The outputs are called `name/label`; "" leaves an optional output out.
            attributes: The operator's attributes.

        Returns:
            The outputs' names.
        """
        outputs = [f"{name}/{label}" if label else "" for label in labels]
        self._add(operator, inputs, outputs, name, attributes)
        return outputs

    def split(self, value: str, sizes: Sequence[int], name: str, labels: Sequence[str], axis: int) -> list[str]:
        """Split a value along an axis.

        Args:
            value: The value's name.
            sizes: Sizes of the pieces along the axis.
            name: The node's name.
            labels: The pieces are called `name/label`.
            axis: The axis to cut, from 0.

        Returns:
            The pieces' names.
        """
        lengths = self._integers(f"split_{'_'.join(_runs(sizes))}", sizes)
        return self.nodes("Split", [value, lengths], name, labels, axis=axis)

    def _add(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], name: str, attributes: dict[str, Any]
    ) -> None:
        made = [self._attribute(*pair) for pair in sorted(attributes.items())]
        self.added.append(onnx.NodeProto(op_type=operator, input=inputs, output=outputs, name=name, attribute=made))

    def _attribute(self, name: str, value: Any) -> onnx.AttributeProto:
        """An attribute, made once for the thousands of steps that carry the same one."""
        if isinstance(value, onnx.GraphProto):
            return helper.make_attribute(name, value)
        key = (name, repr(value))
        if key not in self._attributes:
            self._attributes[key] = helper.make_attribute(name, value)
        return self._attributes[key]

    def reshape(self, value: str, shape: tuple[int, ...], name: str, *, keep: bool = False) -> str:
        """Reshape a value, unless it is known to have the shape already.

        A reshape of a reshape reads what the first one reads, so that the first one goes (see `finish`).

        Args:
            value: The value's name.
            shape: The shape; one axis may be -1.
            name: The node's name.
            keep: Whether to add the node in any case.

        Returns:
            The name of a value of that shape.
        """
        source = self._reshaped.get(value, value)
        for known in (value, source):
            if self._shapes.get(known) == shape and not keep:
                return known
        sizes = self._integers(f"shape_{'_'.join(map(str, shape))}", shape)
        output = self.node("Reshape", [source, sizes], name)
        self._reshaped[output], self._shapes[output] = source, shape
        return output

    def origin(self, value: str) -> str:
        """The value that a value is a reshape of; the value itself where it is none."""
        return self._reshaped.get(value, value)

    def take(self, value: str, start: int, stop: int, name: str, *, axis: int = 0) -> str:
        """Add a Slice node: `value[start:stop]` along one axis.

        Args:
            value: The value's name.
            start: As in a Python slice.
            stop: As in a Python slice.
            name: The node's name.
            axis: The axis to take from.

        Returns:
            The name of the node's output.
        """
        bounds = [self._integers(f"index_{index}", [index]) for index in (start, stop, axis, 1)]
        return self.node("Slice", [value, *bounds], name)

    def gather(self, value: str, at: NDArray[np.int64], name: str, *, axis: int = 0, output: str | None = None) -> str:
        """Add a Gather node: `value[at]` along one axis.

        Args:
            value: The value's name.
            at: Places along the axis, int64; their shape takes the axis's place.
            name: The node's name.
            axis: The axis to take from.
            output: The output's name; None to let it follow the node's.

        Returns:
            The name of the node's output.
        """
        return self.node("Gather", [value, self.constant(f"{name}/indices", at)], name, output=output, axis=axis)

    def pad(self, value: str, before: int, after: int, name: str) -> str:
        """Add a Pad node: zeros around the first of three axes.

        Args:
            value: The name of a value of three axes.
            before: Rows of zeros in front.
            after: Rows of zeros behind.
            name: The node's name.

        Returns:
            The name of the node's output.
        """
        return self.node("Pad", [value, self._integers(f"{name}/pads", [before, 0, 0, after, 0, 0])], name)

    @contextlib.contextmanager
    def body(self) -> Iterator[list[onnx.NodeProto]]:
        """Collect the nodes that are added meanwhile apart: the body of a `loop`. Constants stay in the graph.

        Yields:
            The nodes.
        """
        self._around, self.added = self.added, []
        try:
            yield self.added
        finally:
            self.added, self._around = self._around, []

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """While a body is open: add nodes before its loop."""
        inside, self.added = self.added, self._around
        try:
            yield
        finally:
            self.added = inside

    def loop(
        self, body: Sequence[onnx.NodeProto], trips: int, states: Sequence[tuple[str, str, str]], given: str, name: str
    ) -> str:
        """Add a Loop node. In its body, `name/trip` is the number of the trip, from 0.

        Args:
            body: The nodes of a trip, from `body`.
            trips: How many there are.
            states: For each state its value before the first trip, and its names in the body before and after a trip.
            given: A value of the body. Its shape and those of states before a trip are known (`shape`).
            name: The node's name.

        Returns:
            What `given` was in each trip, one after the other along a new first axis.
        """
        go, goes = f"{name}/go", f"{name}/goes"  # NVIDIA's parser refuses a Loop without a condition
        read = [(f"{name}/trip", INT64, ()), (go, BOOL, ()), *((b, FLOAT, self._shapes[b]) for _, b, _ in states)]
        made = [(goes, BOOL, ()), *((after, FLOAT, self._shapes[b]) for _, b, after in states)]
        graph = helper.make_graph(
            [*body, helper.make_node("Identity", [go], [goes], goes)],
            f"{name}/body",
            [value_info(*value) for value in read],
            [value_info(*value) for value in (*made, (given, FLOAT, self._shapes[given]))],
        )
        count, true = self._integers(f"trips_{trips}", trips), self.constant("true", np.array(True))
        labels = [*(f"last_{index}" for index in range(len(states))), "every"]
        outputs = self.nodes("Loop", [count, true, *(first for first, _, _ in states)], name, labels, body=graph)
        shapes = [*(self._shapes[b] for _, b, _ in states), (trips, *self._shapes[given])]
        self.declared += [value_info(*value) for value in zip(outputs, [FLOAT] * len(outputs), shapes, strict=True)]
        return outputs[-1]

    def call(
        self,
        function: onnx.FunctionProto,
        inputs: Sequence[str],
        outputs: Sequence[str],
        name: str,
        attributes: dict[str, Any],
    ) -> None:
        """Add a local function, and a node that calls it.

        Args:
            function: The function.
            inputs: Names of values, in the function's order.
            outputs: Names of what it gives, in the function's order.
            name: The node's name.
            attributes: Those that the function lists.
        """
        self.functions.append(function)
        self._add(function.name, inputs, outputs, name, attributes)
        self.added[-1].domain = function.domain


def value_info(name: str, kind: int, shape: Sequence[int | None]) -> onnx.ValueInfoProto:
    """An edge of a graph.

    Args:
        name: Its name.
        kind: The type, of TensorProto.
        shape: Its sizes; None for the dynamic batch.
    """
    return helper.make_tensor_value_info(name, kind, [DYNAMIC_BATCH if size is None else size for size in shape])


def _runs(sizes: Sequence[int]) -> list[str]:
    """Sizes for a name: 784 ones become "784x1"."""
    return [f"{len(sizes)}x{sizes[0]}"] if len(set(sizes)) == 1 else [str(size) for size in sizes]
