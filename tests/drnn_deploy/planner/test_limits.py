"""Small files and options that would need terabytes or hours are refused within moments, with the figure."""

from __future__ import annotations

import dataclasses
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core import memory
from drnn_core.errors import InputError
from drnn_deploy.exporter.options import ExportOptions, graph_requests
from drnn_deploy.exporter.pipeline import export
from drnn_deploy.planner.limits import check_size
from drnn_deploy.planner.plan import make_plan
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from tests.networks import random_weights, specs

SMALL = ModelSpec("gru", (8, 8), (1, 2), Continuous(2), Head("last", 2))
WHOLE: dict[str, Any] = {"length": 200}
HUGE = 10**12
REQUESTS: dict[str, tuple[ModelSpec, dict[str, Any], str]] = {
    "vocabulary": (
        dataclasses.replace(SMALL, cell="rnn", hidden=(1, 1), input=Tokens(1 << 22)),
        WHOLE,
        "GB of memory, most of it (53.7 GB) for one-hot vectors of 4,194,304 symbols",
    ),
    "features": (
        dataclasses.replace(SMALL, cell="rnn", hidden=(1, 1), input=Continuous(1 << 22)),
        WHOLE,
        "golden data of form sequence with 200 steps would take about 80.5 GB",
    ),
    "fusion": (
        ModelSpec("rnn", (1,), (1 << 19,), Continuous(1), Head("sequence", 1)),
        WHOLE,
        "the head reads 524,288 steps for each output (spec.fusion), 104,857,600 vectors",
    ),
    "dilation": (dataclasses.replace(SMALL, dilations=(1, 1 << 24)), WHOLE, "sum to 16,777,417"),
    "outputs": (
        dataclasses.replace(SMALL, hidden=(1, 1), head=Head("sequence", 1 << 22)),
        WHOLE,
        "golden data of form sequence with 200 steps would take about 161 GB",
    ),
    "length": (SMALL, {"length": HUGE}, "sum to 1,000,000,000,003"),
    "chunk": (SMALL, {"forms": ("chunk",), "chunk": HUGE}, "sum to 1,000,000,000,003"),
    "batch": (SMALL, {**WHOLE, "batch": HUGE}, "PB of memory"),
    "batch of a profile": (SMALL, {**WHOLE, "batch": None, "profile": (1, 8, HUGE)}, "PB of memory"),
    "batch of steps": (SMALL, {"forms": ("step",), "batch": HUGE}, "for delay lines of 1,000,000,000,000 sequences"),
    "batch of streams": (SMALL, {"goal": "latency", "batch": HUGE}, "for delay lines of 1,000,000,000,000 sequences"),
}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of sixteen gigabytes."""
    monkeypatch.setattr(memory, "available_memory", lambda: 16 << 30)


@pytest.mark.parametrize("name", REQUESTS)
def test_request_that_is_too_large_is_refused_with_the_figure_before_memory_is_taken(tmp_path: Path, name: str) -> None:
    spec, options, says = REQUESTS[name]
    weights = {name: np.full(shape, 0.01, np.float32) for name, shape in spec.weight_shapes().items()}
    checkpoint = Checkpoint(spec, weights)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=re.escape(says)) as refusal:
            export(checkpoint, tmp_path / "bundle", ExportOptions(engines=(), runtimes=("onnxruntime-cpu",), **options))
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
    assert re.search("Use a (smaller|network with a smaller)|Train a network with", refusal.value.fix)
    assert not list(tmp_path.iterdir())


def test_plans_have_the_same_limits() -> None:
    for how in ({"length": HUGE}, {"length": 8, "batch": HUGE}):
        with pytest.raises(InputError, match="1,000,000,000,0"):
            make_plan(SMALL, "onnxruntime-cpu", "sequence", **how)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="sum to"):
        make_plan(dataclasses.replace(SMALL, dilations=(1, 1 << 24)), "tensorrt", "latency")


@pytest.mark.parametrize(
    ("dilations", "length", "head", "fix"),
    [
        ((1, 1 << 24), 200, "last", "Train a network with smaller dilations."),
        ((1, 1 << 19), 1 << 20, "last", "Use a smaller --length."),
        ((1 << 19,), 200, "sequence", "Use a network with a smaller first dilation."),
        ((1 << 18,), 200, "sequence", "Use a smaller --length, or a network with a smaller first dilation."),
    ],
)
def test_the_advice_helps(dilations: tuple[int, ...], length: int, head: Any, fix: str) -> None:
    spec = ModelSpec("rnn", (1,) * len(dilations), dilations, Continuous(1), Head(head, 1))
    with pytest.raises(InputError) as refusal:
        make_plan(spec, "onnxruntime-cpu", "sequence", length=length)
    assert refusal.value.fix == fix


WIDE = ModelSpec("rnn", (2,), (1,), Tokens(100_000, 2), Head("sequence", 100_000))
LATE = ModelSpec("rnn", (2,), (100_000,), Continuous(1), Head("sequence", 1))


@pytest.mark.parametrize(("spec", "goal"), [(WIDE, "throughput"), (LATE, "sequence"), (LATE, "throughput")])
def test_no_graph_is_recommended_that_the_export_refuses(spec: ModelSpec, goal: Any) -> None:
    assert make_plan(spec, "onnxruntime-cpu", goal, length=10).chosen
    assert graph_requests(Checkpoint(spec, random_weights(spec, 0), {"length": 10}), ExportOptions(goal=goal))


def test_a_dynamic_batch_is_planned_at_its_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 30 << 20)
    spec = dataclasses.replace(SMALL, hidden=(64, 64), dilations=(1, 64), head=Head("sequence", 2))
    for batch, fits in ((1, True), (None, False)):
        steps = [c.request.steps for c in make_plan(spec, "onnxruntime-cpu", "throughput", batch=batch).candidates]
        assert (max(steps) == 256) is fits


@given(spec=specs(), steps=st.integers(1, 2000), batch=st.integers(1, 100))
def test_ordinary_networks_are_never_refused(spec: ModelSpec, steps: int, batch: int) -> None:
    for form in ("sequence", "chunk", "step"):
        check_size(spec, form, steps, batch)


def test_the_largest_ordinary_requests_are_taken() -> None:
    paper = ModelSpec("lstm", (256,) * 9, tuple(2**i for i in range(9)), Tokens(10_000, 512), Head("sequence", 10_000))
    speech = ModelSpec("gru", (64,) * 14, tuple(2**i for i in range(14)), Continuous(1), Head("last", 109))
    for spec, options in (
        (paper, {"length": 100, "batch": 16}),
        (speech, {"length": 48_000, "batch": None}),
        (speech, {"forms": ("step", "chunk"), "batch": 64}),
    ):
        assert graph_requests(Checkpoint(spec, {}), ExportOptions(**options))  # type: ignore[arg-type]
