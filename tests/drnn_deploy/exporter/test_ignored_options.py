"""Whatever is asked of an export and accepted has an effect: on the graphs, or on the engines, the check or the C."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import EngineError, InputError
from drnn_deploy.exporter import engines
from drnn_deploy.exporter.options import ExportOptions, graph_requests
from drnn_export.engine.config import BuildControls
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.networks import random_weights

SPEC = ModelSpec("gru", (40, 40, 40), (1, 4, 16), Continuous(1), Head("sequence", 10))
NETWORK = Checkpoint(SPEC, random_weights(SPEC, 0), {"length": 96, "options": {"rate": 4000}})
VALUES: dict[str, tuple[Any, ...]] = {  # field of ExportOptions that graphs depend on -> some values, the usual first
    "length": (None, 60, 96, 200),
    "forms": (None, ("sequence",), ("chunk",), ("step",), ("sequence", "step"), ("sequence", "chunk")),
    "chunk": (None, 4, 12),
    "ring": (None, True, False),
    "batch": (1, 5, None),
    "profile": ((1, 8, 64), (2, 3, 4)),
    "emissions": (None, ("fused",), ("unrolled",), ("blocked",), ("skewed",), ("fused", "unrolled")),
    "block": (None, 3, 7),
    "precisions": (("fp32",), ("int8",), ("fp32", "fp16")),
    "target": ("onnxruntime-cpu", "onnxruntime-cuda", "tensorrt", "native"),
    "goal": ("sequence", "latency", "throughput"),
    "rate": (None, 0.5, 1e3, 1e6),
    "prune": (True, False),
    "node_budget": (20_000, 1, 300),
}  # fmt: skip
USUAL = {name: values[0] for name, values in VALUES.items()}
CHOOSERS = ("target", "node_budget", "rate")  # they weigh candidates: of one, or of very unlike ones, they say the same


def outcome(settings: dict[str, Any]) -> object:
    """The graphs, with the sizes of their batches, or why there are none."""
    options = ExportOptions(**settings, engines=())
    try:
        options.refuse_ignored()
        requests = graph_requests(NETWORK, options)
    except InputError as error:
        return error.message
    return requests, options.profile if options.batch is None else None


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Settings of which a few are not the usual ones."""
    names = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=4, unique=True))
    return {**USUAL, **{name: draw(st.sampled_from(VALUES[name])) for name in names}}


@given(requests())
def test_what_is_accepted_has_an_effect(settings: dict[str, Any]) -> None:
    if isinstance(outcome(settings), str):
        return
    for name, value in settings.items():
        if value == USUAL[name] or name in CHOOSERS or (name, value) == ("ring", False):  # a sequence has none
            continue
        others = {str(outcome({**settings, name: other})) for other in VALUES[name]}
        assert len(others) > 1, f"{name}={value} is ignored"


@pytest.mark.parametrize("settings", [
    {"target": "tensorrt"}, {"target": "tensorrt", "goal": "latency"}, {"rate": 1e6, "goal": "latency"},
])  # fmt: skip
def test_what_weighs_graphs_changes_which_is_chosen(settings: dict[str, Any]) -> None:
    for name in settings.keys() & {*CHOOSERS}:
        assert len({str(outcome({**USUAL, **settings, name: other})) for other in VALUES[name]}) > 1


@pytest.mark.parametrize("settings, says", [
    ({"length": 8, "forms": ("step",)}, "--length"),
    ({"length": 8, "goal": "latency"}, "--length"),
    ({"prune": False, "forms": ("chunk",)}, "--no-prune"),
    ({"ring": True, "forms": ("step",), "emissions": ("skewed",)}, "--ring"),
    ({"ring": True}, "--ring"),
    ({"block": 4}, "--block"),
    ({"profile": (1, 2, 3)}, "the profile"),
    ({"target": "tensorrt", "emissions": ("fused",)}, "--target"),
    ({"node_budget": 5, "emissions": ("fused",)}, "--node-budget"),
    ({"rate": 8e3, "goal": "throughput"}, "--rate"),
    ({"rate": 8e3, "goal": "latency", "target": "tensorrt"}, "--rate"),
    ({"engines": (), "engine_seconds": 7.0}, "--engine-seconds"),
    ({"engines": (), "engine_cache": False}, "--no-engine-cache"),
    ({"engines": (), "controls": BuildControls(workspace_mib=5)}, "--workspace"),
    ({"check": "none", "atol": 0.1}, "a tolerance"),
    ({"check": "none", "threads": 2}, "--threads"),
    ({"runtimes": (), "threads": 2}, "--threads"),
])  # fmt: skip
def test_what_would_be_ignored_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=f"{says}.* would be ignored: it needs "):
        ExportOptions(**settings).refuse_ignored()


def test_a_tolerance_without_a_check_is_that_of_the_network_in_c() -> None:
    ExportOptions(check="none", native=True, atol=0.1).refuse_ignored()


@pytest.mark.parametrize("settings", [
    {"engine_seconds": 7.0}, {"engine_cache": False}, {"compute_capabilities": ("8.6",)},
    *({"controls": dataclasses.replace(BuildControls(), **{name: value})}
      for name, value in {"tf32": True, "workspace_mib": 5, "optimization_level": 1}.items()),
])  # fmt: skip
def test_settings_of_engines_are_refused_where_none_can_be_built(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from drnn_core.types import Availability

    monkeypatch.setattr(engines, "backend_availability", lambda *_: Availability(False, "not installed", "install it"))
    assert engines.chosen_backends(ExportOptions()) == []
    with pytest.raises(EngineError, match="would be ignored: no engine can be built here: tensorrt: not installed"):
        engines.chosen_backends(ExportOptions(**settings))
    if "compute_capabilities" in settings:
        assert engines.chosen_backends(ExportOptions(**settings, cuda_kernel=True)) == []
