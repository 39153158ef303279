"""A TensorRT `INetworkDefinition` as a program that NumPy runs: layers in order, loops as loops.

A tensor *varies* in a loop if it depends on one of the loop's recurrences or iterators; layers that make such tensors
are the loop's body and run once an iteration. Everything else runs once. Values are checked against the types and
shapes that the network declares. Source: TensorRT's developer guide, "Working with loops".
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from drnn_models.errors import InputError
from drnn_runtimes.network_layers import Array, Constants, Function, dtype_of, layer_function, refused

Values = dict[str, Array]
_BOUNDARIES = {
    "RECURRENCE": "IRecurrenceLayer",
    "ITERATOR": "IIteratorLayer",
    "TRIP_LIMIT": "ITripLimitLayer",
    "LOOP_OUTPUT": "ILoopOutputLayer",
}


@dataclasses.dataclass(frozen=True)
class _Step:
    """A layer: the names of its inputs (None: absent) and of its output, and what it computes."""

    layer: str
    inputs: tuple[str | None, ...]
    output: str
    function: Function
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def needs(self) -> set[str]:
        """Values that the layer reads."""
        return {name for name in self.inputs if name is not None}

    def makes(self) -> list[str]:
        """Values that it adds."""
        return [self.output]

    def run(self, values: Values) -> None:
        """Add the output to `values`, in the declared type and shape."""
        found = self.function([None if name is None else values[name] for name in self.inputs])
        if found.dtype == self.dtype and found.shape == self.shape:
            values[self.output] = found
            return
        if found.dtype != self.dtype:
            if found.dtype != np.float32 or self.dtype.itemsize != 2:  # the one rounding of a narrow float
                raise InputError(f"layer {self.layer!r} gives {found.dtype}, TensorRT's network says {self.dtype}")
            found = found.astype(self.dtype)
        if len(found.shape) != len(self.shape) or any(
            size not in (-1, got) for size, got in zip(self.shape, found.shape, strict=True)
        ):
            raise InputError(f"layer {self.layer!r} gives shape {found.shape}, TensorRT's network says {self.shape}")
        values[self.output] = found


@dataclasses.dataclass
class _Loop:
    """One loop. `carried`: recurrence -> (first value, next value). `read`: iterator -> (data, axis, from the end).

    `outputs`: (output, tensor inside, kind, axis).
    """

    name: str
    trips: str = ""
    carried: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    read: dict[str, tuple[str, int, bool]] = dataclasses.field(default_factory=dict)
    outputs: list[tuple[str, str, str, int]] = dataclasses.field(default_factory=list)
    body: list[_Step] = dataclasses.field(default_factory=list)

    def needs(self) -> set[str]:
        """Values from outside that the loop reads."""
        inside = {*self.carried, *self.read, *(step.output for step in self.body)}
        used = {
            self.trips,
            *(first for first, _ in self.carried.values()),
            *(data for data, _, _ in self.read.values()),
        }
        used |= {after for _, after in self.carried.values()} | {tensor for _, tensor, _, _ in self.outputs}
        used = used.union(*(step.needs() for step in self.body))
        return used - inside

    def makes(self) -> list[str]:
        """Values that it adds."""
        return [output for output, _, _, _ in self.outputs]

    def run(self, values: Values) -> None:
        """Add the outputs to `values`."""
        inner = {name: values[name] for name in self.needs()}
        state = {name: values[first] for name, (first, _) in self.carried.items()}
        slices = {
            name: np.moveaxis(values[data], axis, 0)[:: -1 if reverse else 1]
            for name, (data, axis, reverse) in self.read.items()
        }
        kept: dict[str, list[Array]] = defaultdict(list)
        for trip in range(int(values[self.trips])):
            inner.update(state)
            inner.update((name, data[trip]) for name, data in slices.items())
            for step in self.body:
                step.run(inner)
            for output, tensor, kind, _ in self.outputs:
                if kind != "LAST_VALUE":
                    kept[output].append(inner[tensor])
            state = {name: inner[after] for name, (_, after) in self.carried.items()}
        for output, tensor, kind, axis in self.outputs:
            if kind == "LAST_VALUE":
                values[output] = state[tensor] if tensor in state else inner[tensor]
            else:
                values[output] = np.stack(kept[output][:: -1 if kind == "REVERSE" else 1], axis=axis)


Part = TypeVar("Part", bound=_Step | _Loop)


class NetworkProgram:
    """The network of a parsed graph."""

    def __init__(self, module: Any, network: Any, constants: Constants) -> None:
        """Read all layers. constants: see `layer_function`.

        Raises `InputError` for a layer or loop that is not evaluated here, naming it.
        """
        self._inputs = [network.get_input(index).name for index in range(network.num_inputs)]
        self._outputs = [network.get_output(index).name for index in range(network.num_outputs)]
        loops: dict[str, _Loop] = {}
        steps: list[_Step] = []
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            kind = str(layer.type.name)
            if kind in _BOUNDARIES:
                layer.__class__ = getattr(module, _BOUNDARIES[kind])
                _add_boundary(loops.setdefault(layer.loop.name, _Loop(layer.loop.name)), kind, layer)
            else:
                steps.append(_step(module, layer, constants))
        outside = _sort_into_loops(steps, loops)
        parts: list[_Step | _Loop] = [*outside, *loops.values()]
        self._parts = _in_order(parts)
        self.layers = network.num_layers

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Values:
        """The network's outputs, in the types that it declares."""
        values: Values = {name: inputs[name] for name in self._inputs}
        for part in self._parts:
            part.run(values)
        return {name: values[name] for name in self._outputs}


def _step(module: Any, layer: Any, constants: Constants) -> _Step:
    if layer.num_outputs != 1:
        raise refused(layer, f"it has {layer.num_outputs} outputs")
    names = tuple(None if t is None else t.name for t in (layer.get_input(i) for i in range(layer.num_inputs)))
    output = layer.get_output(0)
    # the class that holds the layer's attributes hides `type` and `name` behind its own
    name, dtype, shape = layer.name, dtype_of(output), tuple(output.shape)
    return _Step(name, names, output.name, layer_function(module, layer, constants), dtype, shape)


def _add_boundary(loop: _Loop, kind: str, layer: Any) -> None:
    inputs = [layer.get_input(index).name for index in range(layer.num_inputs)]
    if kind == "TRIP_LIMIT":
        if str(layer.kind.name) != "COUNT":
            raise refused(layer, f"loops that end on a condition ({layer.kind.name}) are not evaluated")
        loop.trips = inputs[0]
        return
    output = layer.get_output(0).name
    if kind == "RECURRENCE":
        loop.carried[output] = (inputs[0], inputs[1])
    elif kind == "ITERATOR":
        loop.read[output] = (inputs[0], layer.axis, bool(layer.reverse))
    else:
        loop.outputs.append((output, inputs[0], str(layer.kind.name), layer.axis))


def _sort_into_loops(steps: list[_Step], loops: Mapping[str, _Loop]) -> list[_Step]:
    """Give every loop its body, in order; returns the steps that are in no loop."""
    readers: dict[str, list[_Step]] = defaultdict(list)
    for step in steps:
        for name in step.inputs:
            if name is not None:
                readers[name].append(step)
    owner: dict[str, _Loop] = {}  # by the step's output
    for loop in loops.values():
        waiting = [*loop.carried, *loop.read]
        while waiting:
            for step in readers[waiting.pop()]:
                if step.output not in owner:
                    owner[step.output] = loop
                    waiting.append(step.output)
                elif owner[step.output] is not loop:
                    raise InputError(
                        f"layer {step.layer!r} of TensorRT's network is in two loops, which is not evaluated"
                    )
    for loop in loops.values():
        body = [step for step in steps if owner.get(step.output) is loop]
        loop.body = _in_order(body)
    return [step for step in steps if step.output not in owner]


def _in_order(parts: Sequence[Part]) -> list[Part]:
    """The parts, each after those that make what it needs. Raises `InputError` where there is no such order."""
    made = {name for part in parts for name in part.makes()}
    missing = {id(part): part.needs() & made for part in parts}
    readers: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        for name in missing[id(part)]:
            readers[name].append(part)
    ready = [part for part in parts if not missing[id(part)]]
    for part in ready:  # which grows
        for name in part.makes():
            for reader in readers[name]:
                missing[id(reader)].discard(name)
                if not missing[id(reader)]:
                    ready.append(reader)
    if len(ready) < len(parts):
        raise InputError("the layers of TensorRT's network have no order in which they can run")
    return ready
