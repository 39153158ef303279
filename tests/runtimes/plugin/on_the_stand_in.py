"""What `test_enqueue.py` runs in a process whose libcuda is a stand-in: NVIDIA's plugin object launches the host build.

The graph around the node is run by ONNX Runtime. It shows that what the plugin is given, packs and launches is right,
and nothing of a GPU or of TensorRT's runtime.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drnn_core.errors import EngineError
from drnn_deploy.debug.explain import explain_report
from drnn_deploy.exporter.contents import golden_cases, known_answers, write_bundle
from drnn_deploy.exporter.options import ExportOptions, graph_requests
from drnn_deploy.parity.check import check_parity
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.bundle.functions import STACK_NODE
from drnn_runtimes.cuda_kernel.device import Device
from drnn_runtimes.plugin.carried import CarriedKernel
from drnn_runtimes.plugin.launch import StackLauncher
from drnn_runtimes.plugin.stack import Stack
from tests.networks import random_weights
from tests.runtimes.cuda_kernel.stand_in.child import counts
from tests.runtimes.cuda_kernel.stand_in.host_images import host_image
from tests.runtimes.plugin.cpp_plugin import CppPlugin, cpp_library
from tests.runtimes.plugin.plugin_session import HERE, PluginOnTheStandIn, PluginSession

LSTM = ModelSpec("lstm", (6, 5), (2, 3), Continuous(2), Head("last_k", 3, 2))
GRU = ModelSpec("gru", (5, 7, 4), (1, 2, 4), Continuous(3), Head("last", 2), reset="before")
RELU = ModelSpec("rnn", (9,), (3,), Continuous(1), Head("sequence", 2), activation="relu")


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


def the_plugin_in_cpp_computes_the_same() -> None:
    with pytest.MonkeyPatch.context() as patch:
        opened = PluginSession.__init__

        def with_cpp(self: PluginSession, *arguments: Any) -> None:
            opened(self, *arguments)
            fields = self._plugin.kernel.fields()
            self._plugin = CppPlugin(cpp_library(), fields)
            self._plugin.answers = self._stack.answers
            arguments[-1].callback(self._plugin.close)
            assert cpp_library().serialised_bytes(ctypes.c_void_p(self._plugin.made)) == sum(
                value.nbytes for value in fields.values()
            )

        patch.setattr(PluginSession, "__init__", with_cpp)
        _assert_parity(LSTM, forms=("sequence", "chunk"), batch=None, profile=(1, 2, 3))


def the_plugin_in_cpp_refuses_what_it_cannot_launch() -> None:
    library = cpp_library()
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


def the_plugin_in_cpp_ends_no_process_where_memory_runs_out() -> None:
    library = cpp_library()
    fields = dict(CarriedKernel.compiled(_kernel().stack, ["8.7"]).fields())
    plugin = ctypes.c_void_p(CppPlugin(library, fields).made)
    less = {name: value for name, value in fields.items() if name != "image_87"}
    calls: dict[str, Callable[[], int | None]] = {
        "createPlugin": lambda: CppPlugin(library, fields).made,
        "clone": lambda: library.copy(plugin),
        "attachToContext": CppPlugin(library, fields).attached,
        "getFieldsToSerialize": lambda: library.serialised_bytes(plugin),
        "a context that is refused": CppPlugin(library, less).attached,  # whose reason needs memory, too
    }
    with contextlib.ExitStack() as held:
        Device(held).use()
        held.callback(library.run_out_after, -1)
        for name, call in calls.items():
            answers = []
            for allocations in range(30):
                library.run_out_after(allocations)
                made = call()
                answers.append(bool(made))
                if made and name != "getFieldsToSerialize":
                    library.destroy(ctypes.c_void_p(made))
            assert answers == sorted(answers), name
            assert (answers[0], answers[-1]) == (False, name != "a context that is refused"), name


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
