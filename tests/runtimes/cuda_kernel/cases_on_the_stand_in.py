"""What `test_runtime.py` runs in a process whose libcuda is a stand-in. It shows nothing of a GPU."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu.kernel import DISTINCT, Clock, check_network, verdict
from drnn_core.errors import EngineError
from drnn_deploy.exporter.contents import golden_cases, known_answers, write_bundle
from drnn_deploy.exporter.options import ExportOptions, graph_requests
from drnn_deploy.parity.check import check_parity
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.cuda_kernel.device import Device, Kernel
from drnn_runtimes.cuda_kernel.images import compiled_image, plan_for
from drnn_runtimes.cuda_kernel.session import KernelSession, Network
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.reference.noise import answer
from drnn_runtimes.registry import find_runtime
from tests.networks import make_case, random_weights
from tests.runtimes.cuda_kernel.stand_in.child import NAME, counts

LSTM = ModelSpec("lstm", (6, 5), (2, 3), Continuous(2), Head("last_k", 3, 2))
TOKENS = ModelSpec("gru", (5, 7), (1, 4), Tokens(6, 3), Head("sequence", 2))
ONE_HOT = ModelSpec("rnn", (9,), (3,), Tokens(4), Head("last", 2), activation="relu")
LENGTH, CHUNK = 13, 5


@contextlib.contextmanager
def _bundle_of(spec: ModelSpec, **options: object) -> Iterator[Bundle]:
    """Whole sequences, chunks and steps of a network."""
    chosen = {"forms": ("sequence", "chunk", "step"), "length": LENGTH, "chunk": CHUNK, "emissions": ("fused",)}
    checkpoint, asked = Checkpoint(spec, random_weights(spec, 0)), ExportOptions(**{**chosen, **options})  # type: ignore[arg-type]
    requests = graph_requests(checkpoint, asked)
    with tempfile.TemporaryDirectory() as folder:
        cases = golden_cases(known_answers(checkpoint, requests), requests)
        yield write_bundle(checkpoint, Path(folder) / "bundle", requests, cases, asked)


def _assert_nothing_is_left() -> None:
    left = {name: counts()[name] for name in ("memory", "host memory", "objects")}
    assert not any(left.values()), left


def _assert_parity(spec: ModelSpec, graphs: int, **options: object) -> None:
    before = counts()
    with _bundle_of(spec, **options) as bundle:
        report = check_parity(bundle, [find_runtime("cuda-kernel")])
    assert [row.error for row in report.rows if not row.passed] == []
    assert report.exit_code == 0 and len(report.rows) == graphs, [entry.reason for entry in report.missing]
    assert counts()["replays"] > before["replays"], "it ran on something else"
    _assert_nothing_is_left()


def lstm_with_a_fusion_window_has_parity() -> None:
    _assert_parity(LSTM, 3)


def embedded_tokens_have_parity_in_fp16_and_without_pruning() -> None:
    _assert_parity(TOKENS, 6, precisions=("fp32", "fp16"), prune=False)


def one_hot_tokens_have_parity_with_any_batch() -> None:
    _assert_parity(ONE_HOT, 3, batch=None, profile=(1, 2, 3))


def it_says_that_it_is_a_stand_in() -> None:
    assert NAME in find_runtime("cuda-kernel").availability().detail


def a_stream_goes_on_where_another_runtime_was_and_back() -> None:
    case = make_case(LSTM, 3, 40)
    samples, answers = (
        case.inputs,
        run_reference(
            dataclasses.replace(LSTM, head=Head("sequence", 3)), random_weights(LSTM, 0), case.inputs
        ).outputs,
    )
    kernel, other = find_runtime("cuda-kernel"), find_runtime("onnxruntime-cpu")
    with (
        _bundle_of(LSTM) as bundle,
        kernel.stream(bundle, "chunk") as stream,
        other.stream(bundle, "chunk") as twin,
    ):
        for start in range(0, 40, CHUNK):
            piece = samples[:1, start : start + CHUNK]
            stream.push(piece[:, :2])
            np.testing.assert_allclose(
                stream.push(piece[:, 2:]), answers[:1, start + CHUNK - 2 : start + CHUNK], atol=1e-5
            )
            twin.push(piece)
            one, two = stream.state(), twin.state()
            assert one.lines.keys() == two.lines.keys()
            for name, line in one.lines.items():
                np.testing.assert_allclose(line, two.lines[name], atol=1e-5)
            stream.restore(two)
            twin.restore(one)
        stream.reset()
        first = stream.push(samples[:1, :CHUNK])
        np.testing.assert_allclose(first, answers[:1, CHUNK - 2 : CHUNK], atol=1e-5)
    _assert_nothing_is_left()


def steps_of_a_stream_are_one_launch() -> None:
    spec = dataclasses.replace(TOKENS, head=Head("sequence", 2))
    case = make_case(spec, 2, 30)
    answers = run_reference(spec, random_weights(spec, 0), case.inputs).outputs
    with _bundle_of(spec, forms=("step",), batch=2) as bundle, find_runtime("cuda-kernel").stream(bundle) as stream:
        outputs, start, before = [], 0, counts()["launches"]
        for steps in (1, 1, 9, 9, 0, 4, 6):
            outputs.append(stream.push(case.inputs[:, start : start + steps]))
            start += steps
        assert start == 30 and counts()["launches"] == before + 6
        np.testing.assert_allclose(np.concatenate(outputs, axis=1), answers, atol=1e-5)
    _assert_nothing_is_left()


def a_bound_call_reads_what_its_array_holds_now() -> None:
    with _bundle_of(LSTM, batch=2) as bundle:
        graph = bundle.graph("sequence")
        first, second = (make_case(LSTM, 2, LENGTH, seed).inputs for seed in (1, 2))
        with find_runtime("cuda-kernel").load(bundle, graph) as session:
            samples, output = first.copy(), np.zeros((2, 2, 3), np.float32)
            call = session.bind({"input": samples}, {"output": output})
            for inputs in (first, second, first):
                samples[...] = inputs
                call()
                np.testing.assert_array_equal(output, session.run({"input": inputs})["output"])
                expected = run_reference(LSTM, random_weights(LSTM, 0), inputs).outputs
                np.testing.assert_allclose(output, expected, atol=1e-5)
    _assert_nothing_is_left()


def a_session_takes_one_size_after_the_other() -> None:
    with (
        _bundle_of(LSTM, batch=None, profile=(1, 2, 3)) as bundle,
        find_runtime("cuda-kernel").load(bundle, bundle.graph("sequence")) as session,
    ):
        for batch in (1, 3, 3, 2):
            inputs = make_case(LSTM, batch, LENGTH, batch).inputs
            expected = run_reference(LSTM, random_weights(LSTM, 0), inputs).outputs
            np.testing.assert_allclose(session.run({"input": inputs})["output"], expected, atol=1e-5)
    _assert_nothing_is_left()


def a_session_runs_in_another_thread() -> None:
    inputs, found = {"input": make_case(LSTM, 1, LENGTH).inputs}, []
    with (
        _bundle_of(LSTM) as bundle,
        find_runtime("cuda-kernel").load(bundle, bundle.graph("sequence")) as session,
    ):
        thread = threading.Thread(target=lambda: found.append(session.run(inputs)["output"]))
        thread.start()
        thread.join()
        np.testing.assert_array_equal(found, [session.run(inputs)["output"]])
    _assert_nothing_is_left()


def launches_that_do_not_fit_are_refused() -> None:
    plan = plan_for(LSTM, "87")
    batch, steps, answers = 2, 7, 3
    with contextlib.ExitStack() as stack:
        device = Device(stack)
        kernel = device.load(stack, compiled_image(plan, "87"), plan)
        sizes = [
            4 * batch * steps * 2,
            plan.weight_bytes,
            *[4 * plan.state_floats(batch)] * 2,
            plan.workspace_bytes(batch),
            4 * batch * answers * 5,
        ]
        x, weights, state, after, workspace, y = addresses = [device.memory(stack, size) for size in sizes]
        host = np.zeros(sizes[0] // 4, np.float32)

        def launch(changed: Kernel | None = None, given: list[int] | None = None, *numbers: int) -> None:
            (changed or kernel).launch(given or addresses, *(numbers or (batch, steps, answers)), device.stream)
            device.wait()

        def altered(**values: object) -> Kernel:
            return Kernel(device, kernel._function, dataclasses.replace(plan, **values))  # type: ignore[arg-type]

        launch()
        launch(None, [x, weights, 0, 0, workspace, y])
        for words, arguments in {
            "grid, block or shared": (altered(threads=plan.threads + 32), None),
            "grid, block or shared memory": (altered(shared=plan.shared - 4), None),
            "more shared memory": (altered(shared=64 << 10), None),
            "grid": (altered(options=dataclasses.replace(plan.options, rows=2)), None),
            "y is no": (None, [x, weights, state, after, workspace, 0]),
            "x is no": (None, [host.ctypes.data, weights, state, after, workspace, y]),
            "weights are no": (None, [x, x, state, after, workspace, y]),
            "x is no array": (None, [y, weights, state, after, workspace, x]),
            "state is no": (None, [x, weights, state + 16, after, workspace, y]),
            "next_state is no": (None, [x, weights, state, y, workspace, y]),
            "state is": (None, None, 1, steps * batch, answers),
            "x is": (None, None, batch, steps + 1, answers),
        }.items():
            with pytest.raises(EngineError, match=words):
                launch(*arguments)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="answers 1 to 7 of 7 steps, not 8"):
            launch(None, None, batch, steps, steps + 1)
    _assert_nothing_is_left()


def more_than_48_kib_are_asked_for() -> None:
    spec = ModelSpec("rnn", (24,) * 9, tuple(2**n for n in range(9)), Continuous(1), Head("last", 1))
    plan = plan_for(spec, "87")
    assert plan.shared_bytes > 48 << 10
    with contextlib.ExitStack() as stack:
        device = Device(stack)
        kernel = device.load(stack, compiled_image(plan, "87"), plan)
        network = Network(device, kernel, spec, random_weights(spec, 0), stack)
        with _bundle_of(spec, forms=("step",), prune=False) as bundle:
            session = KernelSession(network, dataclasses.replace(bundle.graphs[0]), stack)
            outputs = session.stream(np.zeros((1, 1, 1), np.float32)).run_block(make_case(spec, 1, 9).inputs)
        every = dataclasses.replace(spec, head=Head("sequence", 1))
        expected = run_reference(every, random_weights(spec, 0), make_case(spec, 1, 9).inputs).outputs
        np.testing.assert_allclose(outputs, expected, atol=1e-5)
    _assert_nothing_is_left()


def what_is_no_image_is_refused_and_nothing_is_left() -> None:
    plan = plan_for(LSTM, "87")
    with contextlib.ExitStack() as stack:
        device = Device(stack)
        with pytest.raises(EngineError, match="cuModuleLoadData: stand-in: no image"):
            device.load(stack, b"nothing" * 100, plan)
        with pytest.raises(EngineError, match="cuMemAlloc"):
            device.call("cuMemAlloc", 0)
    _assert_nothing_is_left()


def the_check_of_a_gpu_finds_parity_and_what_is_wrong() -> None:
    spec = ModelSpec("lstm", (5, 4), (1, 3), Continuous(2), Head("last", 3))
    weights = random_weights(spec, 0)
    rows = list(check_network(spec, weights, 11, (1, 9)))
    assert [(row["form"], row["pruned"]) for row in rows[::2]] == 2 * [
        *(("sequence", True), ("sequence", False), ("chunk", False), ("step", False))
    ]
    assert all(row["passed"] and row["repeats_equal"] for row in rows), rows
    expected = answer(spec, weights, make_case(spec, DISTINCT, 11).inputs)
    outputs, noise = expected.outputs.astype(np.float32), expected.noises["fp32"]
    assert not verdict(outputs + 1e-3, expected.outputs, noise)["passed"]
    assert not verdict(np.where(outputs == outputs[0], np.nan, outputs), expected.outputs, noise)["passed"]
    repeated = np.concatenate([outputs, np.nextafter(outputs[:1], 9)])
    assert not verdict(repeated, expected.outputs, noise)["passed"]
    _assert_nothing_is_left()


def the_check_of_a_gpu_times_launches_graphs_and_nothing() -> None:
    with contextlib.ExitStack() as stack:
        clock, weights = Clock(stack), random_weights(LSTM, 0)
        assert clock.hertz() == 1.5e9  # that the stand-in makes up
        found = clock.kernel_times(LSTM, weights, 2, 9, pruned=True, types="fp32", runs=2)
        assert 0 < found["graph"]["least"] <= found["graph"]["median"]
        assert found["cycles_a_step"] == pytest.approx(found["launched"]["least"] * 1500 / 9)
        before = counts()["replays"]
        assert clock.empty_times(20, runs=2)["launched"]["least"] >= 0
        assert counts()["replays"] == before + 5
    _assert_nothing_is_left()
