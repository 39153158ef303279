"""Any number of sequences through any graph gives what the reference gives for each of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from drnn_core import memory
from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.steps import Step
from drnn_deploy import ExportOptions, export
from drnn_deploy.planner.candidates import PROFILE
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes import whole_runs
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.whole_runs import choose_graph, run_sequences
from tests.networks import random_inputs, random_weights

LENGTH = 12
HEADS = {"last": Head("last", 3), "last_k": Head("last_k", 3, 2), "sequence": Head("sequence", 3)}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Head -> a bundle with whole sequences, chunks of 4 and steps; of head last_k with a fixed batch."""
    made = {}
    for kind, head in HEADS.items():
        spec = ModelSpec("gru", (4, 5), (1, 4), Tokens(6, 2) if kind == "last_k" else Continuous(2), head)
        options = ExportOptions(
            length=LENGTH,
            forms=("sequence", "chunk", "step"),
            chunk=4,
            batch=3 if kind == "last_k" else None,
            profile=PROFILE if kind == "last_k" else (2, 4, 5),
            engines=(),
            runtimes=(),
        )
        folder = tmp_path_factory.mktemp("whole") / "bundle"
        made[kind] = export(Checkpoint(spec, random_weights(spec, 1)), folder, options).bundle
    return made


@pytest.mark.parametrize("runtime", ["onnxruntime-cpu", "reference"])
@pytest.mark.parametrize("kind", HEADS)
def test_every_sequence_gets_its_own_answer(kind: str, runtime: str, bundles: dict[str, Bundle]) -> None:
    bundle = bundles[kind]
    x = random_inputs(bundle.spec, 7, LENGTH, 2)
    spec = dataclasses.replace(bundle.spec, head=Head("sequence", 3))
    every = run_reference(spec, bundle.weights, x).outputs
    last = {"last": every[:, -1], "last_k": every[:, -2:], "sequence": every}[kind]
    chunks = {"last": every[:, 3::4], "last_k": every[:, [2, 3, 6, 7, 10, 11]], "sequence": every}[kind]
    for form, right in (("sequence", last), ("chunk", chunks), ("step", every)):
        for count in (1, 2, 3, 7):
            outputs = bundle.run(x[:count], runtime=runtime, form=form)
            np.testing.assert_allclose(outputs, right[:count], atol=2e-6)


@pytest.mark.parametrize("form", ["chunk", "step"])
def test_a_long_stream_says_how_far_it_is_and_how_long_it_will_take(
    form: str, bundles: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, told = bundles["last_k"], list[str]()
    x = random_inputs(bundle.spec, 4, LENGTH, 3)
    whole = bundle.run(x, form=form)
    monkeypatch.setattr(whole_runs, "_PIECE", 5)  # no whole number of chunks
    run = run_sequences(bundle, x, find_runtime("onnxruntime-cpu"), form, name="x", notify=told.append)
    np.testing.assert_array_equal(run.outputs, whole)
    texts = ["0 of 4 sequences of x, 5 of 12 steps of the next", "0 of 4 sequences of x, 10 of 12 steps of the next"]
    texts += ["3 of 4 sequences of x", *(text.replace("0 of", "3 of", 1) for text in texts), "4 of 4 sequences of x"]
    assert told == texts
    left = [line.left for line in told if isinstance(line, Step)]
    assert (len(left), left[-1], min(left[:-1]) > 0) == (6, 0, True)


def test_a_stream_that_fills_no_chunk_is_answered_where_the_head_answers_every_step(
    bundles: dict[str, Bundle],
) -> None:
    bundle, runtime = bundles["sequence"], find_runtime("onnxruntime-cpu")
    assert [choose_graph(bundle, steps, runtime).form for steps in (LENGTH, 13, 3)] == ["sequence", "chunk", "chunk"]
    x = random_inputs(bundle.spec, 2, 13, 3)
    np.testing.assert_allclose(bundle.run(x), run_reference(bundle.spec, bundle.weights, x).outputs, atol=2e-6)
    looks_back = bundles["last"]
    assert [choose_graph(looks_back, steps, runtime).form for steps in (LENGTH, 8, 13)] == ["sequence", "chunk", "step"]


def test_what_no_graph_takes_is_refused_with_what_they_take(bundles: dict[str, Bundle]) -> None:
    bundle = bundles["last"]
    with pytest.raises(InputError, match="sequence/fused takes 12\\n") as refused:
        bundle.run(np.zeros((3, 7, 2)), form="sequence")
    assert "--length 7" in refused.value.fix
    with pytest.raises(InputError, match="takes multiples of 4\\n"):
        bundle.run(np.zeros((3, 7, 2)), form="chunk")
    with pytest.raises(InputError, match="there is no runtime 'onnxruntime'"):
        bundle.run(np.zeros((3, 7, 2)), runtime="onnxruntime")
    with pytest.raises(InputError, match="threads must be from 1 to 1,024, got 0"):
        bundle.run(np.zeros((3, 7, 2)), threads=0)


def test_a_runtime_that_runs_none_of_the_graphs_says_why(
    bundles: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, bundle = find_runtime("onnxruntime-cpu"), bundles["last"]
    monkeypatch.setattr(type(runtime), "unsupported", lambda *_: "it is Sunday")
    with pytest.raises(RuntimeUnavailableError, match=r"cannot run .* it is Sunday"):
        bundle.run(np.zeros((3, LENGTH, 2)))


def test_outputs_that_do_not_fit_into_memory_are_refused(
    bundles: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with pytest.raises(InputError, match="the run would take about"):
        run_sequences(bundles["sequence"], np.zeros((20, LENGTH, 2)), find_runtime("reference"))


def test_streams_open_from_the_bundle(bundles: dict[str, Bundle]) -> None:
    bundle = bundles["sequence"]
    x = random_inputs(bundle.spec, 2, LENGTH, 4)
    with bundle.stream("step", batch=2, runtime="reference") as stream:
        np.testing.assert_allclose(stream.push(x), bundle.run(x), atol=2e-6)
