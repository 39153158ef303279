"""The bundles that parts read: which graphs they have, when they are made again, and engines that are not built."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from benchmarks.gpu import bundles
from benchmarks.gpu.bundles import checkpoint_of, open_bundle, sets_of, write_bundles
from benchmarks.gpu.plan import Setting, networks
from benchmarks.networks import paper_network
from drnn_deploy.exporter.engines import EngineResult
from drnn_models.cells import Cell
from tests.benchmarks.gpu.small_parts import LENGTH


def test_graphs_are_of_all_precisions_and_forms(setting: Setting) -> None:
    found = write_bundles(setting, "gru")
    graphs = [(row["set"], row["graph"]) for row in found["graphs"]]
    timed = [(f"b{batch}", f"sequence/fused{end}") for batch in (1, 32) for end in ("", "/fp16")]
    assert graphs == [*timed, ("stream", "chunk32/unrolled"), ("stream", "step/unrolled")]
    for quick in (True, False):
        sets = sets_of(dataclasses.replace(setting, quick=quick), networks()[0][0])
        assert {precision for options in sets.values() for precision in options["precisions"]} == {
            *("fp32", "fp16", "bf16", "int8")
        }
    assert set(sets) == {"sequence", "stream", "chunk", "blocked", "unrolled"}


def test_the_networks_are_the_zoos_and_the_papers() -> None:
    zoo, cells = networks()
    assert {"copy-memory", "pixel-mnist", "ptb-char", "speaker-id"} <= set(zoo)
    assert cells == list(get_args(Cell))
    assert checkpoint_of("copy-memory").task["name"] == "copy-memory"
    assert checkpoint_of("lstm").dilated == paper_network("lstm").spec


def test_bundles_are_kept_while_they_would_be_made_of_the_same(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports: list[str] = []
    real = bundles.export
    monkeypatch.setattr(bundles, "export", lambda *given: exports.append(given[1].name) or real(*given))
    first = write_bundles(setting, "gru")
    assert exports == ["b1", "b32", "stream"]
    assert write_bundles(setting, "gru") == first
    assert exports == ["b1", "b32", "stream"]
    next((setting.work / "gru" / "b1").glob("*.onnx")).write_bytes(b"damaged")
    (setting.work / "gru" / "stream.made-of").write_text("of other weights", encoding="utf-8")
    assert write_bundles(setting, "gru") == first
    assert exports[3:] == ["b1", "stream"]


def test_engines_are_built_and_those_that_are_not_say_why(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ahead of time, for a GPU that is not here; the builds of one set are pretended to have been refused."""
    pytest.importorskip("tensorrt_rtx")
    options = {"length": LENGTH, "emissions": ("fused",), "batch": 1, "compute_capabilities": ("8.6",)}
    monkeypatch.setattr(bundles, "sets_of", lambda *_: {"b1": options})
    found = write_bundles(setting, "gru", "tensorrt-rtx")
    (row,) = found["engines"]
    assert (found["status"], row["status"], row["graph"]) == ("ok", "ok", "sequence/fused")
    assert row["build_seconds"] > 0
    assert row["kernels"] >= 1
    bundle = open_bundle(setting, "gru", "b1", "tensorrt-rtx")
    assert row["engine_bytes"] == bundle.path(bundle.engines[0].file).stat().st_size
    refused = EngineResult("tensorrt-rtx", "sequence/fused", None, "no such kernel", "Use another.", failed=True)
    assert bundles._engine_row(refused)["reason"] == "no such kernel Use another."
    monkeypatch.setattr(bundles, "_engine_row", lambda _: {"graph": "g", "status": "refused", "reason": "no"})
    found = write_bundles(setting, "gru", "tensorrt-rtx")
    assert (found["status"], found["reason"]) == ("refused", "1 of 1 engines were not built; g: no")
