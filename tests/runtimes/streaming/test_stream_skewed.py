"""Streams of a skewed graph: the same answers, a few steps late."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.types import Emission
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.streaming.stream import Stream
from tests.networks import Case, cases, make_case
from tests.runtimes.streaming.streams import bundle_of, cuts, every_step, pieces

SPEC = ModelSpec("lstm", (4, 5, 4), (3, 4, 1), Continuous(2), Head("sequence", 3))
EMISSIONS: tuple[Emission, ...] = ("skewed", "fused")


@contextlib.contextmanager
def skewed(case: Case) -> Iterator[Stream]:
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundle_of(Path(folder), case, GraphRequest(1, len(case.inputs), "skewed", form="step"))
        with find_runtime("onnxruntime-cpu").stream(bundle) as stream:
            yield stream


@given(case=cases(), length=st.integers(1, 20), lengths=cuts)
def test_finish_brings_what_is_late(case: Case, length: int, lengths: list[int]) -> None:
    case = make_case(every_step(case).spec, len(case.inputs), length)
    late = case.spec.layers - 1
    with skewed(case) as stream:
        assert stream.delay == late
        for _ in range(2):
            found = np.concatenate([stream.push(piece) for piece in pieces(case.inputs, lengths)], axis=1)
            assert found.shape[1] == max(0, length - late)
            case.assert_within_noise(np.concatenate([found, stream.finish()], axis=1))


def test_rows_that_start_again_answer_nothing_until_their_first_step_is_through() -> None:
    case = make_case(SPEC, 2, 12)
    expected = case.reference().outputs
    with skewed(case) as stream:
        stream.push(case.inputs[:, :6])
        stream.reset(rows=[1])
        found = stream.push(np.stack([case.inputs[0, 6:], case.inputs[1, :6]]))
    assert found.shape == (2, 6, 3)
    np.testing.assert_allclose(found[0], expected[0, 4:10], atol=1e-5)
    assert np.isnan(found[1, :2]).all()
    np.testing.assert_allclose(found[1, 2:], expected[1, :4], atol=1e-5)


@given(st.integers(0, 12))
def test_state_goes_on_in_another_skewed_stream(cut: int) -> None:
    case = make_case(SPEC, 2, 12)
    with skewed(case) as one, skewed(case) as other:
        found = [one.push(case.inputs[:, :cut])]
        other.restore(one.state())
        found += [other.push(case.inputs[:, cut:]), other.finish()]
    case.assert_within_noise(np.concatenate(found, axis=1))


def test_state_of_layers_at_different_steps_is_refused_elsewhere(tmp_path: Path) -> None:
    case = make_case(SPEC, 1, 4)
    requests = GraphRequest(1, 1, "skewed", form="step"), GraphRequest(1, 1, form="step")
    bundle = bundle_of(tmp_path, case, *requests)
    runtime = find_runtime("onnxruntime-cpu")
    with runtime.stream(bundle, "step/skewed") as late, runtime.stream(bundle, "step/fused") as other:
        for one, two in ((late, other), (other, late)):
            with pytest.raises(InputError, match="one of the state and the stream is skewed"):
                one.restore(two.state())


@pytest.mark.parametrize("runtime", ["reference", "torch"])
def test_runtimes_of_the_weights_do_not_take_it(runtime: str, tmp_path: Path) -> None:
    case = make_case(SPEC, 1, 4)
    bundle = bundle_of(tmp_path, case, GraphRequest(1, 1, "skewed", form="step"))
    words = f"{runtime} cannot run step/skewed .* layers at different steps"
    with pytest.raises(RuntimeUnavailableError, match=words), find_runtime(runtime).stream(bundle):
        pytest.fail("it streams")


def test_a_stream_takes_the_first_graph_that_its_runtime_can_run(tmp_path: Path) -> None:
    """As a run does; and of those the first of its batch."""
    case = make_case(SPEC, 1, 4)
    requests = [GraphRequest(1, batch, emission, form="step") for batch in (1, 2) for emission in EMISSIONS]
    bundle = bundle_of(tmp_path, case, *requests)
    for name, delay in (("onnxruntime-cpu", 2), ("reference", 0)):
        for batch in (None, 1, 2):
            with find_runtime(name).stream(bundle, batch=batch) as stream:
                assert stream.delay == delay
                assert stream.push(np.zeros((batch or 1, 3, 2), np.float32)).shape == (batch or 1, 3 - delay, 3)
    with (
        pytest.raises(InputError, match="takes a batch of 1, got 3"),
        find_runtime("reference").stream(bundle, batch=3),
    ):
        pytest.fail("it streams")
