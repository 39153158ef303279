"""What `test_enqueue.py` runs in a process whose libcuda is a stand-in: NVIDIA's plugin object launches the host build.

The graph around the node is run by ONNX Runtime. It shows that what the plugin is given, packs and launches is right,
and nothing of a GPU or of TensorRT's runtime.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorrt_rtx as rtx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from drnn_core.errors import EngineError
from drnn_core.types import Availability
from drnn_deploy.debug.explain import explain_report
from drnn_deploy.exporter.contents import golden_cases, known_answers, write_bundle
from drnn_deploy.exporter.options import ExportOptions, graph_requests
from drnn_deploy.parity.check import check_parity
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.bundle.functions import STACK_NODE, calls_stack
from drnn_runtimes.bundle.graph_file import parse_graph
from drnn_runtimes.cuda_kernel.device import Device
from drnn_runtimes.cuda_kernel.host_build import cpp_compiler
from drnn_runtimes.plugin import stack
from drnn_runtimes.plugin.carried import CarriedKernel
from drnn_runtimes.plugin.creator import loading_with
from drnn_runtimes.plugin.launch import StackLauncher, workspace_bytes
from drnn_runtimes.plugin.stack import Stack
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession
from tests.networks import random_weights
from tests.runtimes.cuda_kernel.stand_in.child import counts
from tests.runtimes.cuda_kernel.stand_in.host_images import host_image

LSTM = ModelSpec("lstm", (6, 5), (2, 3), Continuous(2), Head("last_k", 3, 2))
GRU = ModelSpec("gru", (5, 7, 4), (1, 2, 4), Continuous(3), Head("last", 2), reset="before")
RELU = ModelSpec("rnn", (9,), (3,), Continuous(1), Head("sequence", 2), activation="relu")
HERE = "87"


class PluginSession(CopyingSession):
    """ONNX Runtime for what is around the node, and the plugin's `enqueue` for the node."""

    def __init__(self, model: onnx.ModelProto, outputs: list[str], device: Device, held: contextlib.ExitStack) -> None:
        self._node = next(filter(calls_stack, model.graph.node))
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in self._node.attribute}
        self._device, self._outputs = device, outputs
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
        held.callback(self._plugin.launcher.close)
        self._plan = kernel.stack.plan(HERE)
        self._constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._shapes = {value.name: value for value in model.graph.value_info}
        self._rest = self._around(model)

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Arrays:
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


class CppPlugin:
    """The plugin of the C++ library, called as TensorRT's runtime does."""

    def __init__(self, library: ctypes.CDLL, fields: Mapping[str, NDArray[Any]], phase: int = 1) -> None:
        self._library, self.launched = library, list[ctypes.c_void_p]()
        for name in ("make", "attach"):
            getattr(library, name).restype = ctypes.c_void_p
        library.serialised_bytes.restype = ctypes.c_longlong
        count = len(fields)
        names = (ctypes.c_char_p * count)(*(name.encode() for name in fields))
        data = (ctypes.c_void_p * count)(*(value.ctypes.data for value in fields.values()))
        words = (ctypes.c_int * count)(*(value.dtype == np.int32 for value in fields.values()))
        lengths = (ctypes.c_int * count)(*(value.size for value in fields.values()))
        self.made = library.make(count, names, data, words, lengths, phase)

    def attached(self) -> int | None:
        """The plugin of a context, or None where the library refuses."""
        address: int | None = self._library.attach(ctypes.c_void_p(self.made))
        return address

    def enqueue(
        self, described: list[Any], given: list[Any], inputs: list[int], outputs: list[int], workspace: int, stream: Any
    ) -> None:
        """As NVIDIA's own."""
        plugin = ctypes.c_void_p(self.attached())  # which must last until the stream is through
        shapes = [size for one in described for size in (*one.dims, 1, 1)[:3]]
        arrays = [(ctypes.c_void_p * len(side))(*side) for side in (inputs, outputs)]
        answers, sizes = self.answers, (ctypes.c_longlong * len(shapes))(*shapes)
        place, on = ctypes.c_void_p(workspace), ctypes.c_void_p(int(stream))
        assert self._library.enqueue(plugin, len(inputs), sizes, answers, *arrays, place, on) == 0
        self.launched.append(plugin)

    def close(self) -> None:
        """Unload what was launched."""
        for plugin in self.launched:
            self._library.destroy(plugin)
        self.launched.clear()

    answers = 0


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
            yield PluginSession(model, [tensor.name for tensor in graph.outputs], device, held)


@contextlib.contextmanager
def _bundle_of(spec: ModelSpec, **options: object) -> Iterator[Bundle]:
    chosen = {"forms": ("sequence", "chunk", "step"), "length": 13, "chunk": 5, "emissions": ("plugin",)}
    checkpoint, asked = Checkpoint(spec, random_weights(spec, 0)), ExportOptions(**{**chosen, **options})  # type: ignore[arg-type]
    requests = graph_requests(checkpoint, asked)
    with tempfile.TemporaryDirectory() as folder:
        cases = golden_cases(known_answers(checkpoint, requests), requests)
        yield write_bundle(checkpoint, Path(folder) / "bundle", requests, cases, asked)


def _assert_parity(spec: ModelSpec, **options: object) -> None:
    before = counts()["launches"]
    with _bundle_of(spec, **options) as bundle:
        report = check_parity(bundle, [PluginOnTheStandIn()])
        assert [row.error for row in report.rows if not row.passed] == []
        assert len(report.rows) == len(bundle.graphs), [entry.reason for entry in report.missing]
    assert report.exit_code == 0
    assert counts()["launches"] > before, "nothing was launched"
    left = {name: counts()[name] for name in ("memory", "host memory", "objects")}
    assert not any(left.values()), left


def lstm_in_every_form_of_any_batch() -> None:
    _assert_parity(LSTM, batch=None, profile=(1, 2, 3))


@functools.cache
def _cpp_library() -> ctypes.CDLL:
    """The plugin in C++ with what calls it, against a stand-in for NVIDIA's header."""
    here = Path(__file__).parent / "cpp"
    source = Path(stack.__file__).parent / "cpp"
    with tempfile.TemporaryDirectory() as folder:
        made, compiler = Path(folder) / "plugin.so", cpp_compiler()
        assert compiler
        flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{here}", f"-I{source}"]
        files = [str(here / "calls.cpp"), str(source / "drnn_plugin.cpp")]
        subprocess.run([compiler, *flags, "-o", str(made), *files, "-ldl"], check=True)
        return ctypes.CDLL(str(made))


def the_plugin_in_cpp_computes_the_same() -> None:
    with pytest.MonkeyPatch.context() as patch:
        opened = PluginSession.__init__

        def with_cpp(self: PluginSession, *arguments: Any) -> None:
            opened(self, *arguments)
            fields = self._plugin.kernel.fields()
            self._plugin = CppPlugin(_cpp_library(), fields)
            self._plugin.answers = self._stack.answers
            arguments[-1].callback(self._plugin.close)
            assert _cpp_library().serialised_bytes(ctypes.c_void_p(self._plugin.made)) == sum(
                value.nbytes for value in fields.values()
            )

        patch.setattr(PluginSession, "__init__", with_cpp)
        _assert_parity(LSTM, forms=("sequence", "chunk"), batch=None, profile=(1, 2, 3))


def the_plugin_in_cpp_refuses_what_it_cannot_launch() -> None:
    library = _cpp_library()
    fields = dict(CarriedKernel.compiled(_kernel().stack, ["8.7"]).fields())
    assert CppPlugin(library, fields).made
    assert not CppPlugin(library, fields, phase=0).made
    assert not CppPlugin(library, {**fields, "format": np.frombuffer(b"drnn-plugin/2", np.int8)}).made
    assert not CppPlugin(library, {}).made
    with contextlib.ExitStack() as held:
        Device(held).use()
        for name in ("image_87", "launch_87"):
            less = {other: value for other, value in fields.items() if other != name}
            assert CppPlugin(library, less).attached() is None
        damaged = {**fields, "image_87": np.frombuffer(b"no image at all", np.int8)}
        assert CppPlugin(library, damaged).attached() is None
        plugin = CppPlugin(library, fields).attached()
        assert plugin is not None
        library.destroy(ctypes.c_void_p(plugin))


def gru_of_one_sequence() -> None:
    _assert_parity(GRU, forms=("sequence",))


def unpruned_relu_in_half_precision() -> None:
    _assert_parity(RELU, precisions=("fp32", "fp16"), forms=("sequence",), prune=False)


def a_broken_kernel_is_explained_by_the_node() -> None:
    """The graph, and all other runtimes, are right. What is compiled of a broken text goes into no cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.runtimes.cuda_kernel.stand_in.host_images.read_source", _broken)
        patch.setattr("drnn_runtimes.plugin.carried.compiled_image", host_image)
        with _bundle_of(LSTM, forms=("step",)) as bundle:
            runtime = PluginOnTheStandIn()
            report = check_parity(bundle, [runtime])
            assert report.exit_code == 1
            (explanation,) = explain_report(bundle, report, [runtime])
            assert STACK_NODE in explanation.verdict, explanation.verdict
            assert "nothing in it differs from what the weights make" in explanation.verdict


def _broken(name: str) -> str:
    from drnn_runtimes.cuda_kernel.constants import read_source

    text = read_source(name)
    if name != "drnn.cu":
        return text
    changed = text.replace("h[i] = open * ", "h[i] = 0.9f * open * ")
    assert changed != text
    return changed


def an_image_for_another_gpu_is_refused() -> None:
    kernel = dataclasses.replace(_kernel(), images={"80": b"x"})
    with pytest.raises(EngineError, match="for the architectures 80, and this GPU is 87"):
        StackLauncher.here(kernel)


def an_image_that_is_none_is_refused() -> None:
    kernel = dataclasses.replace(_kernel(), images={HERE: b"no image at all"})
    with contextlib.ExitStack() as held, pytest.raises(EngineError, match="no image"):
        Device(held).use()
        StackLauncher.here(kernel)


def _kernel() -> CarriedKernel:
    return CarriedKernel(Stack("rnn", "tanh", "after", 1, (4,), (1,), 1, False, True, "fp32"), {}, "0")
