"""A runtime whose node for the plugin is NVIDIA's plugin object, and whose rest of the graph is ONNX Runtime's."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorrt_rtx as rtx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from drnn_core.types import Availability
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.functions import calls_stack
from drnn_runtimes.bundle.graph_file import parse_graph
from drnn_runtimes.cuda_kernel.device import Device
from drnn_runtimes.plugin.carried import CarriedKernel
from drnn_runtimes.plugin.creator import loading_with
from drnn_runtimes.plugin.launch import workspace_bytes
from drnn_runtimes.plugin.stack import Stack
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession

HERE = "87"


class PluginSession(CopyingSession):
    """ONNX Runtime for what is around the node, and the plugin's `enqueue` for the node."""

    def __init__(self, model: onnx.ModelProto, graph: GraphInfo, device: Device, held: contextlib.ExitStack) -> None:
        self._node = next(filter(calls_stack, model.graph.node))
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in self._node.attribute}
        self._device, self._graph, self._outputs = device, graph, [tensor.name for tensor in graph.outputs]
        self._stack = Stack.from_attributes(attributes)
        kernel = CarriedKernel.compiled(self._stack, ["8.7"])
        fields = {name: value.copy() for name, value in kernel.fields().items()}
        registered = held.enter_context(loading_with(rtx, lambda read: "" if read == kernel else "another kernel"))
        (creator,) = [c for c in rtx.get_plugin_registry().all_creators if c.plugin_namespace == "drnn"]
        kinds = {"int8": rtx.PluginFieldType.INT8, "int32": rtx.PluginFieldType.INT32}
        collection = [rtx.PluginField(name, value, kinds[value.dtype.name]) for name, value in fields.items()]
        made = creator.create_plugin("stack", rtx.PluginFieldCollection(collection), rtx.TensorRTPhase.RUNTIME)
        registered.raise_error()
        self._plugin = made.attach_to_context(None)
        registered.raise_error()
        held.callback(self.__dict__.pop, "_plugin")  # as TensorRT does with its execution context
        self._plan = kernel.stack.plan(HERE)
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._shapes = {value.name: value for value in model.graph.value_info}
        self._rest = self._around(model)

    def _compute(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
        """Launch, then run the rest."""
        values = {name: self._constants.get(name, inputs.get(name)) for name in self._node.input}
        made = dict(zip(self._node.output, self._enqueue(list(values.values())), strict=True))
        feeds = {value.name: {**inputs, **made}[value.name] for value in self._rest.get_inputs()}
        rest = [value.name for value in self._rest.get_outputs()]
        results = dict(zip(rest, self._rest.run(rest, feeds), strict=True))
        return {name: results[name] if name in results else made[name] for name in self._outputs}

    def _enqueue(self, given: list[Any]) -> list[NDArray[np.float32]]:
        device, part = self._device, ctypes.CDLL("libcuda.so.1").stand_in_part
        part.argtypes = [ctypes.c_size_t, ctypes.c_size_t]
        rows, _, *before = given
        batch = len(rows)
        top = np.empty((batch, self._stack.answers, self._stack.hidden[-1]), np.float32)
        outputs = [top, *(np.empty_like(line) for line in before)]
        with contextlib.ExitStack() as held:
            device.use()
            addresses = [device.memory(held, array.nbytes) for array in (*given, *outputs)]
            size = workspace_bytes(self._stack, self._plan, batch)
            workspace = device.memory(held, size)
            own = self._plan.workspace_bytes(batch)
            parts = [(workspace, sum(line.nbytes for line in before)), (workspace + size - own, own)]
            for place, length in (entry for entry in parts if entry[1]):
                part(place, length)
                if place != workspace:
                    held.callback(part, place, 0)
            for address, array in zip(addresses, given, strict=False):
                device.upload(address, array)
            described = [SimpleNamespace(dims=array.shape) for array in given]
            to = addresses[len(given) :]
            self._plugin.enqueue(described, [], addresses[: len(given)], to, workspace, device.stream)
            for address, array in zip(to, outputs, strict=True):
                device.download(address, array)
        return outputs

    def _around(self, model: onnx.ModelProto) -> onnx.InferenceSession:
        rest = onnx.ModelProto()
        rest.CopyFrom(model)
        del rest.functions[:], rest.graph.node[:], rest.graph.value_info[:], rest.graph.output[:]
        rest.graph.node.extend(node for node in model.graph.node if not calls_stack(node))
        made = {name for node in rest.graph.node for name in node.output}
        rest.graph.output.extend(value for value in model.graph.output if value.name in made)
        read = {name for node in rest.graph.node for name in node.input}
        known = {value.name for value in rest.graph.input}
        for name in self._node.output:
            if name in read - known:
                rest.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 3))
        unused = [tensor for tensor in rest.graph.initializer if tensor.name not in read]
        for tensor in unused:
            rest.graph.initializer.remove(tensor)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(rest.SerializeToString(), options, providers=["CPUExecutionProvider"])


class PluginOnTheStandIn(StreamingRuntime):
    """A runtime for graphs of emission `plugin`, whose node the plugin computes."""

    name = "plugin-on-the-stand-in"
    reads_graph = runs_any_graph = runs_stack = True

    def availability(self) -> Availability:
        return Availability(True, "a stand-in")

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        return "" if graph.emission == "plugin" else "it has no node for the plugin"

    @contextlib.contextmanager
    def _open(self, bundle: Bundle, graph: GraphInfo) -> Iterator[PluginSession]:
        model = parse_graph(bundle.path(graph.file), bundle.spec, graph)
        with contextlib.ExitStack() as held:
            device = Device(held)
            yield PluginSession(model, graph, device, held)
