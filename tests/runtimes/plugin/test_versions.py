"""What NVIDIA's parsers make of the node: the table, and on TensorRT-RTX each way by which the plugin is found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import pytest

from drnn_core.errors import EngineError
from drnn_export.emitter.emit import emit
from drnn_export.engine import build
from drnn_export.engine.build import build_engine
from drnn_export.engine.kernel_inside import without_function
from drnn_runtimes.plugin.versions import RULES, parser_rule
from drnn_runtimes.trt.bindings import Flavour
from tests.networks import random_weights
from tests.runtimes.plugin.engines import REQUEST, SPEC, pretend_images


@pytest.mark.parametrize(
    ("flavour", "version", "winner", "domain", "override"),
    [
        ("tensorrt", "10.3.0.26", "function", False, False),  # JetPack 6.1
        ("tensorrt", "10.6.0", "function", False, False),
        ("tensorrt", "10.7.0.23", "plugin", False, False),
        ("tensorrt", "10.9.0.34", "plugin", False, False),
        ("tensorrt", "10.10.0.31", "plugin", True, False),
        ("tensorrt", "10.15.1.29", "plugin", True, True),
        ("tensorrt", "11.1.0.106", "plugin", True, True),
        ("tensorrt-rtx", "1.7.1.116", "plugin if the node names its namespace", True, True),
        ("tensorrt-rtx", "1.0.0", "plugin if the node names its namespace", True, True),
    ],
)
def test_each_version_has_its_rule(flavour: Flavour, version: str, winner: str, domain: bool, override: bool) -> None:
    rule = parser_rule(flavour, version)
    assert (rule.winner, rule.domain_is_namespace, rule.has_override) == (winner, domain, override)
    assert rule.needs_node_alone == (winner == "function")


def test_what_was_only_read_says_so() -> None:
    assert [rule.flavour for rule in RULES if rule.ran] == ["tensorrt-rtx"]


def graph(folder: Path, *attributes: str, functions: bool = True) -> Path:
    """The graph whose node has no other attributes for the parser than these."""
    model = emit(SPEC, random_weights(SPEC, 0), REQUEST)
    node = model.graph.node[0]
    kept = [a for a in node.attribute if not a.name.startswith("plugin_") or a.name in attributes]
    del node.attribute[:]
    node.attribute.extend(kept)
    if not functions:
        del model.functions[:]
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def built(path: Path) -> bool:
    """Whether TensorRT-RTX takes the plugin."""
    engine = path.with_suffix(".engine")
    try:
        sidecar = build_engine(path, engine, "tensorrt-rtx", compute_capabilities=("8.6",), with_kernel=True)
    except EngineError as error:
        assert "in place of the plugin" in error.message
        return False
    assert sidecar.kernel is not None
    return True


def test_on_tensorrt_rtx_a_namespace_or_a_missing_function_finds_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
    assert "ENABLE_PLUGIN_OVERRIDE" in rtx.OnnxParserFlag.__members__
    pretend_images(monkeypatch)
    assert not built(graph(tmp_path))  # the function wins where no namespace is named
    assert built(graph(tmp_path, "plugin_namespace"))
    assert built(graph(tmp_path, functions=False))  # by the domain alone, as from TensorRT 10.10 on
    first = dataclasses.replace(parser_rule("tensorrt", "10.3"), flavour="tensorrt-rtx")
    monkeypatch.setattr(build, "parser_rule", lambda *_: first)
    assert built(graph(tmp_path, "plugin_namespace", "plugin_version"))  # as for TensorRT 10.3: the function goes


def test_a_graph_without_its_function_is_else_the_same(tmp_path: Path) -> None:
    path = graph(tmp_path, "plugin_namespace", "plugin_version")
    whole, alone = onnx.load(path), onnx.load_model_from_string(without_function(path))
    assert not alone.functions
    assert alone.graph.SerializeToString(deterministic=True) == whole.graph.SerializeToString(deterministic=True)
