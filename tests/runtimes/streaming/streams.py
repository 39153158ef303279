"""Streams of networks at random: their bundles, pieces of sequences, and what they should answer."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.files import sha256
from drnn_deploy.exporter.contents import _put_graph
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.parity.cases import answered_steps
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import WEIGHTS, Bundle
from drnn_runtimes.bundle.writer import write_weights
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.streaming.stream import Stream
from tests.networks import Case

SPEC = ModelSpec("lstm", (4, 5), (3, 4), Continuous(2), Head("sequence", 3))
cuts = st.lists(st.integers(0, 15), min_size=1, max_size=8).filter(any)


def bundle_of(folder: Path, case: Case, *requests: GraphRequest) -> Bundle:
    """Graphs and weights, without golden data and manifest."""
    checkpoint = dataclasses.replace(case.checkpoint(), task={"options": {"rate": 8000}})
    options, quiet = ExportOptions(), lambda _: None
    graphs = [_put_graph(folder, checkpoint, request, index, options, quiet) for index, request in enumerate(requests)]
    write_weights(folder, checkpoint.weights)
    return Bundle(folder, case.spec, checkpoint.task, tuple(graphs), (), {WEIGHTS: sha256(folder / WEIGHTS)}, {})


def request(steps: int, batch: int | None = 1, *, ring: bool = True, emission: str = "fused") -> GraphRequest:
    form = "step" if steps == 1 else "chunk"
    return GraphRequest(steps, batch, emission, form=form, ring=ring)  # type: ignore[arg-type]


@contextlib.contextmanager
def streaming(case: Case, wanted: GraphRequest, runtime: str = "onnxruntime-cpu") -> Iterator[Stream]:
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundle_of(Path(folder), case, wanted)
        with find_runtime(runtime).stream(bundle, batch=len(case.inputs)) as stream:
            yield stream


def pieces(inputs: NDArray[np.generic], lengths: list[int]) -> Iterator[NDArray[np.generic]]:
    """Cut along time, going round the lengths until the sequence ends."""
    start, turn = 0, 0
    while start < inputs.shape[1]:
        stop = start + lengths[turn % len(lengths)]
        yield inputs[:, start:stop]
        start, turn = stop, turn + 1


def every_step(case: Case) -> Case:
    """The same network with an output for every step: what a stream may be asked for."""
    return Case(
        dataclasses.replace(case.spec, head=Head("sequence", case.spec.head.outputs)), case.weights, case.inputs
    )


def assert_streamed(case: Case, steps: int, found: NDArray[np.generic]) -> None:
    whole = every_step(case)
    right = whole.answer()
    expected = right.outputs[:, answered_steps(steps, case.spec.head.output_steps(steps), case.length)]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0.0) <= NOISE_MULTIPLE * right.noises["fp32"].max()
