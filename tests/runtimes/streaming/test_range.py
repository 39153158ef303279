"""Samples beyond a graph's precision are refused, and the stream is as it was."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import PRECISIONS, Emission, Precision
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.streaming.stream import Stream
from tests.networks import make_case
from tests.runtimes.streaming.streams import bundle_of

SPEC = ModelSpec("gru", (8, 8, 8), (1, 2, 4), Continuous(3), Head("sequence", 2))
CHUNK = 8
RAW = 1e5  # the size of a 24-bit sensor's readings; fp16 ends at 65,504
USUAL = np.random.default_rng(0).standard_normal((1, 22 * CHUNK, 3)).astype(np.float32)
CPU = find_runtime("onnxruntime-cpu")
_EMISSION: dict[Precision, Emission] = {"fp32": "fused", "fp16": "fused", "bf16": "unrolled", "int8": "unrolled"}
REFUSED = {("onnxruntime-cpu", "bf16")}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A chunk of every precision."""
    requests = [
        GraphRequest(CHUNK, 1, _EMISSION[precision], form="chunk", precision=precision)
        for precision in get_args(Precision)
    ]
    return bundle_of(tmp_path_factory.mktemp("range"), make_case(SPEC, 1, CHUNK), *requests)


@pytest.fixture(params=["onnxruntime-cpu", "tensorrt-network"])
def runtime(request: pytest.FixtureRequest) -> str:
    available = find_runtime(request.param).availability()
    if not available.usable:
        pytest.skip(available.detail)
    return str(request.param)


def test_a_raw_sample_is_refused_with_nothing_taken_in(bundle: Bundle, runtime: str) -> None:
    """A chunk of usual numbers, one with one raw sample, then twenty usual ones: today's numbers for those that fit."""
    raw = USUAL.copy()
    raw[0, CHUNK + 3, 1] = -RAW
    with find_runtime(runtime).stream(bundle, "chunk8/fused/fp16") as stream:
        first = stream.push(USUAL[:, : CHUNK + 2])
        with pytest.raises(InputError, match=r"samples reach -100000 at \[0, 3, 1\].* up to 65504: .*NaN") as refused:
            stream.push(raw[:, CHUNK : 2 * CHUNK])
        assert "Scale the inputs" in refused.value.fix
        assert (stream.waiting, stream.steps) == (2, CHUNK)
        rest = stream.push(USUAL[:, CHUNK + 2 :])
    with find_runtime(runtime).stream(bundle, "chunk8/fused/fp16") as undisturbed:
        np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), undisturbed.push(USUAL))


@pytest.mark.parametrize("precision", get_args(Precision))
def test_the_edges_of_the_range_leave_every_later_answer_finite(
    bundle: Bundle, precision: Precision, runtime: str
) -> None:
    """Both ends, one end alone, and one feature alone."""
    graph = bundle.graph(f"chunk8/{_EMISSION[precision]}" + (f"/{precision}" if precision != "fp32" else ""))
    assert graph.largest_input == graph.range <= PRECISIONS[precision].largest
    refusal = find_runtime(runtime).unsupported(bundle, graph)
    assert bool(refusal) == ((runtime, precision) in REFUSED), refusal
    if refusal:
        return
    for edge in ([1, 1, 1], [-1, -1, -1], [1, -1, 1], [0, 0, -1]):
        samples = USUAL.copy()
        samples[0, CHUNK + 3] = np.array(edge, np.float32) * np.float32(graph.range)
        with find_runtime(runtime).stream(bundle, graph.name) as stream, np.errstate(over="ignore"):
            assert np.isfinite(stream.push(samples)).all(), edge


@given(st.sampled_from(get_args(Precision)), st.integers(0, CHUNK - 1), st.integers(0, 2), st.booleans())
@settings(max_examples=20)
def test_the_next_number_beyond_either_end_is_refused_by_streams_and_sessions(
    bundle: Bundle, precision: Precision, step: int, feature: int, negative: bool
) -> None:
    graph = next(graph for graph in bundle.graphs if graph.precision == precision)
    samples = np.zeros((1, CHUNK, 3), np.float32)
    samples[0, step, feature] = np.nextafter(np.float32(graph.range), np.float32(np.inf)) * (-1 if negative else 1)
    session = _Zeros()
    stream = Stream(session, bundle, graph)
    with pytest.raises(InputError, match=r"samples reach|NaN or infinity"):
        stream.push(samples)
    assert (stream.waiting, session.runs) == (0, 0)
    samples[0, step, feature] = np.float32(graph.range) * (-1 if negative else 1)
    stream.push(samples)
    assert session.runs == 1


def test_a_session_refuses_what_is_beyond_its_range(bundle: Bundle, runtime: str) -> None:
    graph = bundle.graph("chunk8/fused/fp16")
    samples = np.zeros((1, CHUNK, 3), np.float32)
    samples[0, 2, 1] = RAW
    states = {name: np.zeros((1, 2**i, 8), np.float32) for i, (name, _) in enumerate(graph.states)}
    with find_runtime(runtime).load(bundle, graph) as session, pytest.raises(InputError, match="up to 65504"):
        session.run({"input": samples, **states})


def test_a_state_beyond_the_range_is_refused_and_changes_nothing(bundle: Bundle) -> None:
    """A relu network's, from a graph of a wider precision, or samples that wait in it."""
    with CPU.stream(bundle, "chunk8/fused") as wide, CPU.stream(bundle, "chunk8/fused/fp16") as narrow:
        narrow.push(USUAL[:, :13])
        before = narrow.state()
        wide.push(USUAL[:, :9])
        waiting, line = wide.state(), wide.state()
        waiting.waiting[0, 0, 1] = RAW
        line.lines["l1_h"][0, 1, 2] = -RAW
        wide.restore(waiting)
        wide.restore(line)
        for state, told in (
            (waiting, "the state's waiting samples reach 100000"),
            (line, "the state's l1_h reach -100000"),
        ):
            with pytest.raises(InputError, match=told):
                narrow.restore(state)
            after = narrow.state()
            assert after.steps == before.steps
            np.testing.assert_array_equal(after.waiting, before.waiting)
            for name, value in before.lines.items():
                np.testing.assert_array_equal(after.lines[name], value)


def test_older_bundles_have_the_range_of_their_precision(bundle: Bundle) -> None:
    for graph in bundle.graphs:
        older = dataclasses.replace(graph, largest_input=None)
        assert older.range == PRECISIONS[graph.precision].largest
        forged = dataclasses.replace(graph, largest_input=1e300)
        assert forged.range == PRECISIONS[graph.precision].largest


class _Zeros:
    """A session that computes nothing."""

    runs, closed = 0, False

    def run(self, inputs: object) -> dict[str, NDArray[np.generic]]:
        raise NotImplementedError

    def bind(self, inputs: object, outputs: object) -> object:
        return self._count

    def _count(self) -> None:
        self.runs += 1
