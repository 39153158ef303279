"""Streams answer as a whole run does, whatever the pieces, and refuse what they cannot take."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.streaming.delay_lines import line_shapes
from drnn_runtimes.streaming.stream import Stream, _Exclusive
from tests.compilers import NATIVE
from tests.networks import Case, cases, make_case
from tests.nightly import NIGHTLY
from tests.runtimes.streaming.streams import (
    SPEC,
    assert_streamed,
    bundle_of,
    cuts,
    every_step,
    pieces,
    request,
    streaming,
)

pytestmark = pytest.mark.optional_runtimes("native")
RUNTIMES = ("reference", "torch", "onnxruntime-cpu", NATIVE)


@pytest.mark.parametrize("runtime", RUNTIMES)
@given(
    case=cases(),
    length=st.integers(1, 40),
    steps=st.integers(1, 12),
    ring=st.booleans(),
    emission=st.sampled_from(["fused", "unrolled", "mixed"]),
    lengths=cuts,
)
def test_pieces_of_any_lengths_give_what_the_whole_gives(
    runtime: str, case: Case, length: int, steps: int, ring: bool, emission: str, lengths: list[int]
) -> None:
    case = make_case(case.spec, len(case.inputs), length)
    with streaming(case, request(steps, len(case.inputs), ring=ring, emission=emission), runtime) as stream:
        found = [stream.push(piece) for piece in pieces(case.inputs, lengths)]
        assert (stream.steps, stream.waiting, stream.delay) == (length // steps * steps, length % steps, 0)
    assert_streamed(case, steps, np.concatenate(found, axis=1))


def test_streams_share_a_loaded_graph_and_nothing_else(bundle: Bundle, case: Case) -> None:
    graph = bundle.graph("chunk4")
    with find_runtime("onnxruntime-cpu").load(bundle, graph) as session:
        alone, one, other = (Stream(session, bundle, graph, batch) for batch in (2, 2, 1))
        expected = alone.push(case.inputs)
        found = []
        for start in range(0, 24, 4):
            found.append(one.push(case.inputs[:, start : start + 4]))
            other.push(np.ones((1, 4, 2), np.float32))
        np.testing.assert_array_equal(np.concatenate(found, axis=1), expected)


@given(case=cases(), length=st.integers(1, 30), steps=st.integers(1, 12), ring=st.booleans())
def test_finish_answers_for_what_waits_and_starts_again(case: Case, length: int, steps: int, ring: bool) -> None:
    case = make_case(every_step(case).spec, len(case.inputs), length)
    with streaming(case, request(steps, len(case.inputs), ring=ring)) as stream:
        for _ in range(2):
            found = np.concatenate([stream.push(case.inputs), stream.finish()], axis=1)
            case.assert_within_noise(found)
            assert (stream.steps, stream.waiting) == (0, 0)


def test_finish_cannot_cut_a_chunk_that_has_one_answer() -> None:
    case = make_case(ModelSpec("gru", (3,), (2,), Continuous(1), Head("last", 2)), 1, 8)
    with streaming(case, request(4)) as stream:
        stream.push(case.inputs[:, :6])
        with pytest.raises(InputError, match="2 samples wait for a chunk of 4, whose end head last answers for"):
            stream.finish()
        assert stream.push(case.inputs[:, 6:]).shape == (1, 1, 2)
        assert stream.finish().shape == (1, 0, 2)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 3, 2)), r"must be float32 \(2, k, 2\), got float64 \(2, 3, 2\)"),
        (np.zeros((1, 3, 2), np.float32), r"got float32 \(1, 3, 2\)"),
        (np.zeros((2, 3, 1), np.float32), r"got float32 \(2, 3, 1\)"),
        (np.zeros((2, 3), np.float32), r"got float32 \(2, 3\)"),
        (np.full((2, 3, 2), np.nan, np.float32), "NaN or infinity"),
        (np.full((2, 3, 2), np.inf, np.float32), "NaN or infinity"),
    ],
)
def test_wrong_samples_are_refused_and_change_nothing(
    samples: NDArray[np.generic], message: str, bundle: Bundle, case: Case
) -> None:
    with find_runtime("onnxruntime-cpu").stream(bundle, "step") as stream:
        expected = stream.push(case.inputs)
        stream.reset()
        first = stream.push(case.inputs[:, :10])
        with pytest.raises(InputError, match=message):
            stream.push(samples)
        np.testing.assert_array_equal(np.hstack([first, stream.push(case.inputs[:, 10:])]), expected)


def test_tokens_beyond_the_vocabulary_are_refused() -> None:
    case = make_case(ModelSpec("gru", (3,), (2,), Tokens(5), Head("last", 2)), 1, 4)
    with streaming(case, request(2)) as stream:
        for token in (5, -1):
            with pytest.raises(InputError, match="tokens must be 0 to 4"):
                stream.push(np.array([[0, token]]))
        assert stream.push(case.inputs).shape == (1, 2, 2)


@pytest.mark.parametrize(("steps", "ring"), [(1, False), (64, False), (64, True)])
def test_step_allocates_no_array_but_its_output(steps: int, ring: bool) -> None:
    case = make_case(ModelSpec("gru", (32,) * 3, (64, 128, 256), Continuous(16), Head("last", 2)), 4, steps)
    with streaming(case, request(steps, 4, ring=ring)) as stream:
        for _ in range(8):
            stream.push(case.inputs)
        tracemalloc.start()
        try:
            for _ in range(3):
                tracemalloc.reset_peak()
                before, _ = tracemalloc.get_traced_memory()
                output = stream.push(case.inputs)
                _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak - before < output.nbytes + 3000 < case.inputs.nbytes + 3500  # views and integers


def test_a_stream_that_is_closed_meanwhile_takes_nothing(bundle: Bundle, case: Case) -> None:
    """Between a thread's asking and its turn another may close it: of a GPU's its states are free then."""
    with find_runtime("onnxruntime-cpu").stream(bundle, "step") as stream:
        turn = _Exclusive(stream)
        stream.close()
        with pytest.raises(InputError, match="the stream is closed"), turn:
            pass
        with pytest.raises(InputError, match="the stream is closed"):
            stream.push(case.inputs)


@pytest.mark.parametrize("batch", [1 << 24, 10**13])
def test_more_sequences_than_fit_the_memory_are_refused(batch: int, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drnn_core.memory.available_memory", lambda: 1 << 30)
        bundle = bundle_of(tmp_path, make_case(SPEC, 1, 4), request(4, None))
        with (
            pytest.raises(InputError, match=r"the stream would take about .* of memory"),
            find_runtime("reference").stream(bundle, batch=batch),
        ):
            pass


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("ring", [False, True])
def test_delay_lines_have_the_shapes_that_the_graph_says(ring: bool, runtime: str) -> None:
    case = make_case(SPEC, 2, 4)
    for emission in ["fused", "skewed"] if runtime == "onnxruntime-cpu" and not ring else ["fused"]:
        with streaming(case, request(1, 2, ring=ring, emission=emission), runtime) as stream:
            shapes = {name: line.shape for name, line in stream.state().lines.items()}
            assert line_shapes(case.spec, stream._graph, 2) == shapes


def test_wrong_rate_is_refused(bundle: Bundle, case: Case) -> None:
    with find_runtime("onnxruntime-cpu").stream(bundle, "step") as stream:
        with pytest.raises(InputError, match="takes 8000 samples a second, got 16000"):
            stream.push(case.inputs, rate=16000)
        assert stream.push(case.inputs, rate=8000).shape == (2, 24, 3)


def test_closed_stream_takes_nothing(bundle: Bundle, case: Case) -> None:
    with find_runtime("onnxruntime-cpu").stream(bundle, "step") as stream:
        pass
    for use in (lambda: stream.push(case.inputs), stream.reset, stream.state):
        with pytest.raises(InputError, match="the stream is closed"):
            use()


def test_second_thread_is_refused_while_the_first_is_in(bundle: Bundle, case: Case) -> None:
    entered, leave = threading.Event(), threading.Event()
    with find_runtime("onnxruntime-cpu").stream(bundle, "step") as stream:
        run = stream._memory.run

        def slow() -> NDArray[np.generic]:
            entered.set()
            leave.wait(10)
            return run()

        stream._memory.run = slow  # type: ignore[method-assign]
        thread = threading.Thread(target=stream.push, args=(case.inputs[:, :1],))
        thread.start()
        assert entered.wait(10)
        with pytest.raises(InputError, match="another thread is using the stream"):
            stream.push(case.inputs[:, :1])
        leave.set()
        thread.join(10)
        assert stream.steps == 1
        assert stream.push(case.inputs[:, :1]).shape == (2, 1, 3)


def test_graph_without_state_or_of_another_batch_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="takes a batch of 2, got 3"),
        find_runtime("reference").stream(bundle, "chunk8", batch=3),
    ):
        pass
    folder = tmp_path / "sequence"
    folder.mkdir()
    whole = bundle_of(folder, make_case(SPEC, 1, 8), GraphRequest(8))
    for form, message in (
        (None, "has no graph with state"),
        ("sequence", "sequence/fused has no state to stream with"),
    ):
        with pytest.raises(InputError, match=message), find_runtime("reference").stream(whole, form):
            pass


def test_thousands_of_steps_do_not_drift() -> None:
    spec = ModelSpec("gru", (8,) * 6, (1, 2, 4, 8, 16, 32), Continuous(1), Head("sequence", 3))
    case = make_case(spec, 1, 10_016 if NIGHTLY else 3_008)
    with streaming(case, request(32)) as stream:
        found = np.concatenate([stream.push(piece) for piece in pieces(case.inputs, [7, 100, 1])], axis=1)
    right = case.answer()
    error = np.abs(found - right.outputs).max(axis=(0, 2))
    assert error.max() <= NOISE_MULTIPLE * right.noises["fp32"].max()
    third = len(error) // 3
    early, late = (error[part].max() for part in (slice(third // 3, 4 * third // 3), slice(-third, None)))
    assert late < 3 * early
