"""One layer of a TensorRT network as a step, and one loop: NumPy runs both on a table of named values.

A tensor *varies* in a loop if it depends on one of the loop's recurrences or iterators; layers that make such tensors
are the loop's body and run once an iteration. Everything else runs once. Source: TensorRT's developer guide, "Working
with loops", and the classes ILoop, ITripLimitLayer, IIteratorLayer, IRecurrenceLayer, ILoopOutputLayer of its API.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from drnn_core.errors import InputError
from drnn_runtimes.trt_numpy.common import FIX, Array, Function, dtype_of, fits, refused

Values = dict[str, Array]
BOUNDARIES = {
    "RECURRENCE": "IRecurrenceLayer",
    "ITERATOR": "IIteratorLayer",
    "TRIP_LIMIT": "ITripLimitLayer",
    "LOOP_OUTPUT": "ILoopOutputLayer",
}
_MOST_TRIPS = 1 << 20  # a condition that never turns false would run for ever; no sequence is that long


@dataclasses.dataclass(frozen=True)
class Edge:
    """A tensor as the network declares it; -1 is a free size."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: Any) -> Edge:
        """From an ITensor."""
        return cls(tensor.name, dtype_of(tensor), tuple(tensor.shape))

    def checked(self, value: Array, layer: str) -> Array:
        """Bring a value into the declared type.

        Args:
            value: What a layer gave.
            layer: Its name, for the message.

        Raises:
            InputError: The value has another type or shape.
        """
        if value.dtype == self.dtype and value.shape == self.shape:
            return value
        if value.dtype != self.dtype:
            if value.dtype != np.float32 or self.dtype.itemsize != 2:  # the one rounding of a narrow float
                raise InputError(f"layer {layer!r} gives {value.dtype}, TensorRT's network says {self.dtype}", FIX)
            value = value.astype(self.dtype)
        if not fits(value.shape, self.shape):
            raise InputError(f"layer {layer!r} gives shape {value.shape}, TensorRT's network says {self.shape}", FIX)
        return value


@dataclasses.dataclass(frozen=True)
class Step:
    """A layer: its name, its inputs (None: absent), its output, and what it computes."""

    layer: str
    inputs: tuple[str | None, ...]
    output: Edge
    function: Function

    def needs(self) -> set[str]:
        """Values that the layer reads."""
        return {name for name in self.inputs if name is not None}

    def makes(self) -> list[str]:
        """Values that it adds."""
        return [self.output.name]

    def run(self, values: Values) -> None:
        """Add the output to `values`, in the declared type and shape."""
        try:
            value = self.function([None if name is None else values[name] for name in self.inputs])
        except (ValueError, IndexError, TypeError) as error:  # how NumPy says that shapes or types do not go together
            raise InputError(f"layer {self.layer!r} of TensorRT's network: {error}", FIX) from error
        values[self.output.name] = self.output.checked(value, self.layer)


@dataclasses.dataclass(frozen=True)
class _Iterator:
    """One slice of `data` a trip, along `axis`, from the first or from the last trip's."""

    data: str
    axis: int
    reverse: bool
    slice: Edge


@dataclasses.dataclass(frozen=True)
class _Output:
    """What leaves the loop: the last value of a recurrence, or all values of `tensor`, `length` of them."""

    tensor: str
    kind: str
    axis: int
    length: str
    whole: Edge


class Loop:
    """One loop: boundary layers are added one by one, then `close` gives it its body."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count, self._condition = "", ""
        self._carried: dict[str, tuple[str, str, Edge]] = {}  # recurrence -> first value, next value
        self._read: dict[str, _Iterator] = {}
        self._outputs: list[_Output] = []
        self._body: list[Step] = []
        self._before: list[Step] = []  # the part of the body that the condition depends on

    def add(self, kind: str, layer: Any) -> None:
        """Take in a boundary layer.

        Args:
            kind: A key of `BOUNDARIES`.
            layer: NVIDIA's layer, as the class of `BOUNDARIES`.

        Raises:
            InputError: It is not evaluated here.
        """
        inputs = [tensor.name for tensor in (layer.get_input(index) for index in range(layer.num_inputs)) if tensor]
        if kind == "TRIP_LIMIT":
            self._limit(layer, str(layer.kind.name), inputs[0])
            return
        edge = Edge.of(layer.get_output(0))
        if kind == "RECURRENCE":
            if len(inputs) != 2:
                raise refused(layer, "it has no next value")
            self._carried[edge.name] = (inputs[0], inputs[1], edge)
        elif kind == "ITERATOR":
            self._read[edge.name] = _Iterator(inputs[0], layer.axis, bool(layer.reverse), edge)
        else:
            length = inputs[1] if len(inputs) > 1 else ""
            self._outputs.append(_Output(inputs[0], str(layer.kind.name), layer.axis, length, edge))

    def _limit(self, layer: Any, kind: str, tensor: str) -> None:
        if kind not in ("COUNT", "WHILE"):
            raise refused(layer, f"trip limits of kind {kind} are not evaluated")
        if self._count if kind == "COUNT" else self._condition:
            raise refused(layer, "its loop has two trip limits of that kind")
        if kind == "COUNT":
            self._count = tensor
        else:
            self._condition = tensor

    def starts(self) -> list[str]:
        """The tensors that vary in the loop to begin with."""
        return [*self._carried, *self._read]

    def close(self, body: Sequence[Step]) -> None:
        """Take in the body.

        Args:
            body: Its layers, in the order in which they run.

        Raises:
            InputError: The loop is not evaluated here.
        """
        asked = {self._condition}
        for step in reversed(body):
            if step.output.name in asked:
                asked |= step.needs()
        self._before = [step for step in body if step.output.name in asked]
        self._body = [step for step in body if step.output.name not in asked]
        if not self._count and (not self._condition or any(iterator.reverse for iterator in self._read.values())):
            raise self._refused("it does not say how many trips it has")
        for output in self._outputs:
            if output.kind not in ("LAST_VALUE", "CONCATENATE", "REVERSE"):
                raise self._refused(f"outputs of kind {output.kind} are not evaluated")
            if output.kind == "LAST_VALUE" and output.tensor not in self._carried:
                raise self._refused(f"the last value of {output.tensor!r}, which is no recurrence, is not evaluated")
            if output.kind != "LAST_VALUE" and not output.length:
                raise self._refused(f"its output {output.whole.name!r} has no length")

    def needs(self) -> set[str]:
        """Values from outside that the loop reads."""
        inside = {*self.starts(), *(step.output.name for step in (*self._before, *self._body))}
        used = {name for first, after, _ in self._carried.values() for name in (first, after)}
        used |= {iterator.data for iterator in self._read.values()} | {self._count, self._condition}
        used |= {name for output in self._outputs for name in (output.tensor, output.length)}
        used = used.union(*(step.needs() for step in (*self._before, *self._body)))
        return used - inside - {""}

    def makes(self) -> list[str]:
        """Values that it adds."""
        return [output.whole.name for output in self._outputs]

    def run(self, values: Values) -> None:
        """Add the outputs to `values`."""
        inner = {name: values[name] for name in self.needs()}
        limit = int(values[self._count]) if self._count else _MOST_TRIPS
        if limit > _MOST_TRIPS:
            raise self._refused(f"{limit:,} trips are more than the {_MOST_TRIPS:,} that are run")
        state = {name: edge.checked(values[first], name) for name, (first, _, edge) in self._carried.items()}
        slices = {name: self._slices(iterator, values[iterator.data], limit) for name, iterator in self._read.items()}
        kept: dict[str, list[Array]] = {output.whole.name: [] for output in self._outputs}
        trips = 0
        while trips < limit:
            inner.update(state)
            for name, data in slices.items():
                if trips >= len(data):
                    raise self._refused(f"trip {trips + 1} reads past the end of {self._read[name].data!r}")
                inner[name] = data[trips]
            for step in self._before:
                step.run(inner)
            if self._condition and not inner[self._condition]:
                break
            for step in self._body:
                step.run(inner)
            for output in self._outputs:
                kept[output.whole.name].append(inner[output.tensor])
            state = {name: edge.checked(inner[after], name) for name, (_, after, edge) in self._carried.items()}
            trips += 1
        if not self._count and trips == _MOST_TRIPS:
            raise self._refused(f"its condition holds for more than {_MOST_TRIPS:,} trips")
        for output in self._outputs:
            value = state[output.tensor] if output.kind == "LAST_VALUE" else self._joined(output, values, kept)
            values[output.whole.name] = output.whole.checked(value, self._name)

    def _slices(self, iterator: _Iterator, data: Array, limit: int) -> Array:
        """`data` with the trips as first axis. From the end means from that of the trip count, not of the data."""
        by_trip = np.moveaxis(data, iterator.axis, 0)
        shape = by_trip.shape[1:]
        if by_trip.dtype != iterator.slice.dtype or not fits(shape, iterator.slice.shape):
            declared = f"TensorRT's network says {iterator.slice.dtype} of {iterator.slice.shape}"
            raise self._refused(f"{iterator.slice.name!r} reads {by_trip.dtype} of shape {shape}, {declared}")
        return by_trip[:limit][::-1] if iterator.reverse else by_trip

    def _joined(self, output: _Output, values: Values, kept: dict[str, list[Array]]) -> Array:
        trips, length = kept[output.whole.name], int(values[output.length])
        if len(trips) != length or not trips:
            raise self._refused(f"it gives {len(trips)} values for {output.whole.name!r}, which has room for {length}")
        return np.stack(trips[:: -1 if output.kind == "REVERSE" else 1], axis=output.axis)

    def _refused(self, reason: str) -> InputError:
        return InputError(f"loop {self._name!r} of TensorRT's network: {reason}", FIX)
