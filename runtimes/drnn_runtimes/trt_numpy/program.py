"""A TensorRT `INetworkDefinition` as a program that NumPy runs: layers in order, loops as loops.

Values are checked against the types and shapes that the network declares.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import TensorInfo
from drnn_runtimes.trt.bindings import data_type
from drnn_runtimes.trt_numpy.common import FIX, Constants, fits, refused
from drnn_runtimes.trt_numpy.layers import layer_function
from drnn_runtimes.trt_numpy.loops import BOUNDARIES, Edge, Loop, Step, Values


class Part(Protocol):
    """A layer, or a loop: what the program runs one after the other."""

    def needs(self) -> set[str]:
        """Values that it reads."""

    def makes(self) -> list[str]:
        """Values that it adds."""

    def run(self, values: Values) -> None:
        """Add the outputs to `values`.

        Raises:
            InputError: A layer cannot run; the message names it.
        """


AnyPart = TypeVar("AnyPart", bound=Part)


class NetworkProgram:
    """The network of a parsed graph.

    Attributes:
        inputs: What it reads, with -1 for a free size.
        outputs: What it gives.
        layers: The number of NVIDIA's layers.
    """

    def __init__(self, module: Any, network: Any, constants: Constants) -> None:
        """Read all layers.

        Args:
            module: NVIDIA's module.
            network: NVIDIA's `INetworkDefinition`.
            constants: See `layer_function`.

        Raises:
            InputError: A layer or loop is not evaluated here; the message names it.
        """
        self.inputs = [_tensor(network.get_input(index)) for index in range(network.num_inputs)]
        self.outputs = [_tensor(network.get_output(index)) for index in range(network.num_outputs)]
        self.layers: int = network.num_layers
        steps, loops = _read(module, network, constants)
        outside = _sort_into_loops(steps, loops)
        every: list[Part] = [*outside, *loops]
        self._parts = _in_order(every)
        self._check_sources()
        self._unused_after = self._last_uses()

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Values:
        """Compute the network's outputs, in the types that it declares.

        Args:
            inputs: Name -> array.

        Raises:
            InputError: The inputs are not the network's, a value has another type or shape than the network declares,
                or NVIDIA documents none for it.
        """
        for tensor in self.inputs:
            value = inputs.get(tensor.name)
            if value is None or str(value.dtype) != tensor.dtype or not fits(value.shape, tensor.shape):
                given = "nothing" if value is None else f"{value.dtype} of shape {value.shape}"
                raise InputError(
                    f"TensorRT's network takes {tensor.dtype} of shape {tensor.shape} as {tensor.name!r}, got {given}"
                )
        values: Values = {tensor.name: inputs[tensor.name] for tensor in self.inputs}
        with np.errstate(all="ignore"):  # infinity and NaN are outputs like others: parity judges them
            for part, unused in zip(self._parts, self._unused_after, strict=True):
                part.run(values)
                for name in unused:
                    del values[name]
        return {tensor.name: values[tensor.name] for tensor in self.outputs}

    def _check_sources(self) -> None:
        made = {tensor.name for tensor in self.inputs}.union(*(part.makes() for part in self._parts))
        needed = {tensor.name for tensor in self.outputs}.union(*(part.needs() for part in self._parts))
        if lost := sorted(needed - made):
            raise InputError(f"nothing outside of a loop makes tensor {lost[0]!r} of TensorRT's network", FIX)

    def _last_uses(self) -> list[list[str]]:
        """For each part, the values that nothing needs after it: long sequences make large ones."""
        kept = {tensor.name for tensor in self.outputs}
        unused = []
        for part in reversed(self._parts):
            names = {*part.needs(), *part.makes()} - kept
            kept |= names
            unused.append(sorted(names))
        return unused[::-1]


def _tensor(tensor: Any) -> TensorInfo:
    return TensorInfo(tensor.name, data_type(tensor.dtype), tuple(tensor.shape))


def _read(module: Any, network: Any, constants: Constants) -> tuple[list[Step], list[Loop]]:
    """Every layer as a step, or as part of a loop."""
    steps: list[Step] = []
    loops: dict[int, Loop] = {}
    held = []  # NVIDIA's objects: one pointer is one Python object for as long as that lives
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        kind = str(layer.type.name)
        if kind not in BOUNDARIES:
            steps.append(_step(module, layer, constants))
            continue
        layer.__class__ = getattr(module, BOUNDARIES[kind])
        held.append(layer.loop)
        loops.setdefault(id(layer.loop), Loop(layer.loop.name)).add(kind, layer)
    return steps, list(loops.values())


def _step(module: Any, layer: Any, constants: Constants) -> Step:
    function = layer_function(module, layer, constants)
    if layer.num_outputs != 1:
        raise refused(layer, f"it has {layer.num_outputs} outputs")
    names = tuple(None if t is None else t.name for t in (layer.get_input(i) for i in range(layer.num_inputs)))
    return Step(layer.name, names, Edge.of(layer.get_output(0)), function)


def _sort_into_loops(steps: list[Step], loops: Sequence[Loop]) -> list[Step]:
    """Give every loop its body, in order; returns the steps that are in no loop."""
    readers: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        for name in step.inputs:
            if name is not None:
                readers[name].append(step)
    owner: dict[str, Loop] = {}  # by the step's output
    for loop in loops:
        waiting = loop.starts()
        while waiting:
            for step in readers[waiting.pop()]:
                name = step.output.name
                if name not in owner:
                    owner[name] = loop
                    waiting.append(name)
                elif owner[name] is not loop:
                    raise InputError(f"layer {step.layer!r} of TensorRT's network is in two loops", FIX)
    for loop in loops:
        loop.close(_in_order([step for step in steps if owner.get(step.output.name) is loop]))
    return [step for step in steps if step.output.name not in owner]


def _in_order(parts: Sequence[AnyPart]) -> list[AnyPart]:
    """The parts, each after those that make what it needs. Raises `InputError` where there is no such order."""
    made = {name for part in parts for name in part.makes()}
    missing = {id(part): part.needs() & made for part in parts}
    readers: dict[str, list[AnyPart]] = defaultdict(list)
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
        raise InputError("the layers of TensorRT's network have no order in which they can run", FIX)
    return ready
