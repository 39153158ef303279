"""A graph's file beside the graph that the weights make: any difference, also one that no number shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from drnn_deploy.parity.check import check_parity
from drnn_deploy.parity.graph_file import check_graph_file
from drnn_deploy.parity.results import FileResult
from drnn_export.emitter.revision import EMITTER_REVISION
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import require
from tests.drnn_deploy.cli.test_parity import flip_a_weight
from tests.sealing import edit_manifest, reseal

Change = Callable[[onnx.ModelProto], object]


def checked(folder: Path) -> FileResult:
    bundle = Bundle.open(folder)
    return check_graph_file(bundle, bundle.graphs[0])


def edited(folder: Path, change: Change) -> FileResult:
    path = folder / "model.onnx"
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    reseal(folder)
    return checked(folder)


def of_revision(folder: Path, revision: int | None) -> None:
    def change(entries: dict[str, Any]) -> None:
        entries.pop("emitter")
        entries |= {} if revision is None else {"emitter": revision}

    edit_manifest(folder, change)


def unread_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "unread"))


def last_bits(model: onnx.ModelProto) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "l0/operator/W")
    values = np.nextafter(numpy_helper.to_array(tensor), np.float32(np.inf))
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def twice_the_nodes(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["output"], ["unread"], "unread"))


HIDDEN: dict[str, tuple[Change, str]] = {  # changes that no number shows
    "the last bits": (last_bits, "initializer l0/operator/W differs from the weights in"),
    "a node that nothing reads": (twice_the_nodes, "node unread (Identity) should not be there"),
    "a constant that nothing reads": (unread_constant, "initializer unread should not be there"),
    "metadata": (
        lambda model: model.metadata_props.add(key="a", value="b"),
        "field metadata_props of the model differs",
    ),
    "another opset": (
        lambda model: model.opset_import.add(domain="com.other", version=1),
        "opset com.other should not be there",
    ),
    "names": (lambda model: setattr(model.graph, "name", "other"), "field name of the graph differs"),
    "a field that onnx does not know": (lambda model: model.MergeFromString(b"\xf8\x7f\x01"), "the file holds what"),
}


def test_right_file_passes_whatever_version_wrote_it(bundle: Path) -> None:
    assert checked(bundle) == FileResult("model.onnx", True)
    assert edited(bundle, lambda model: setattr(model, "producer_version", "9")) == FileResult("model.onnx", True)


@pytest.mark.parametrize("name", HIDDEN)
def test_difference_that_no_number_shows_fails(name: str, bundle: Path) -> None:
    change, words = HIDDEN[name]
    result = edited(bundle, change)
    assert (result.passed, result.exit_code) == (False, 1)
    assert words in " ".join(result.findings)
    assert check_parity(Bundle.open(bundle), require(["onnxruntime-cpu"])).passed


@pytest.mark.parametrize("revision", [None, EMITTER_REVISION + 1])
def test_graph_of_another_revision_is_judged_by_its_numbers_with_a_note(revision: int | None, bundle: Path) -> None:
    of_revision(bundle, revision)
    assert checked(bundle) == FileResult("model.onnx", True)  # the same file is the same file
    flip_a_weight(bundle)
    result = checked(bundle)
    assert (result.passed, result.findings) == (True, ())
    assert "judged by its numbers alone" in result.note
    assert "initializer head/W differs" in result.note
    assert not check_parity(Bundle.open(bundle), require(["onnxruntime-cpu"])).passed


def test_file_that_cannot_be_read_is_a_bad_file(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"\x08\x0a")
    reseal(bundle)
    result = checked(bundle)
    assert (result.passed, result.exit_code) == (False, 2)
    assert "model.onnx cannot be loaded" in result.findings[0]
