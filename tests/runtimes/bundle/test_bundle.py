"""Bundles open as they were written; files that are missing, changed, too large or elsewhere are refused by name."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from drnn_core.errors import InputError
from drnn_runtimes.bundle import Bundle
from tests.networks import random_weights
from tests.runtimes.bundle.damage import FILES, SPEC
from tests.sealing import reseal
from tests.test_old_files import FOLDERS


def test_bundle_opens_as_it_was_written(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.spec == SPEC
    assert set(opened.files) == set(FILES)
    for name, value in opened.weights.items():
        np.testing.assert_array_equal(value, random_weights(SPEC, 0)[name])
    assert all(case.outputs.dtype == np.float64 for case in opened.golden)


@pytest.mark.parametrize("name", ["model.onnx", "sequence", "sequence/fused"])
def test_graphs_are_found_by_file_form_and_emission(bundle: Path, name: str) -> None:
    assert Bundle.open(bundle).graph(name).file == "model.onnx"


@pytest.mark.parametrize("name", ["chunk4-fused.onnx", "chunk", "chunk4", "chunk4/fused"])
def test_a_chunk_is_found_by_its_steps_too(name: str) -> None:
    assert Bundle.open(FOLDERS[0] / "bundle").graph(name).file == "chunk4-fused.onnx"


def test_graph_that_is_not_there_is_refused_with_those_that_are(bundle: Path) -> None:
    with pytest.raises(InputError, match="no graph 'chunk'") as refusal:
        Bundle.open(bundle).graph("chunk")
    assert "sequence/fused" in refusal.value.fix


@pytest.mark.parametrize("name", FILES)
def test_missing_file(bundle: Path, refused: Callable[..., None], name: str) -> None:
    (bundle / name).unlink()
    refused(name, "is missing from the bundle", "Export it again")


@pytest.mark.parametrize("name", FILES)
def test_folder_in_place_of_a_file(bundle: Path, refused: Callable[..., None], name: str) -> None:
    (bundle / name).unlink()
    (bundle / name).mkdir()
    refused(name, "is missing from the bundle")


@pytest.mark.parametrize("name", FILES)
def test_flipped_bit_anywhere_names_the_file(bundle: Path, name: str) -> None:
    whole, draw = (bundle / name).read_bytes(), random.Random(0)
    for position in {0, len(whole) - 1, *(draw.randrange(len(whole)) for _ in range(10))}:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << draw.randrange(8)
        (bundle / name).write_bytes(flipped)
        with pytest.raises(InputError, match="sha256 differs") as refusal:
            Bundle.open(bundle)
        assert str(bundle / name) in refusal.value.message
    (bundle / name).write_bytes(whole)
    Bundle.open(bundle)


@pytest.mark.parametrize("name", FILES)
def test_file_cut_short(bundle: Path, refused: Callable[..., None], name: str) -> None:
    (bundle / name).write_bytes((bundle / name).read_bytes()[:-1])
    refused(name, "size differs", "Export it again")
    with pytest.raises(InputError, match="size differs"):
        Bundle.open(bundle, verify=False)


def test_missing_folder_and_folder_without_a_manifest(
    bundle: Path, refused: Callable[..., None], tmp_path: Path
) -> None:
    (bundle / "manifest.json").unlink()
    refused("is not a bundle: it has no manifest.json", "drnn-export model.pt")
    shutil.rmtree(bundle)
    refused("is not a bundle")
    bundle.write_text("a file", encoding="utf-8")
    refused("is a file, and a bundle is a folder")


@pytest.mark.parametrize("name", FILES)
def test_files_too_large_to_be_what_they_are_are_not_read(
    bundle: Path, refused: Callable[..., None], name: str
) -> None:
    with (bundle / name).open("r+b") as file:
        file.truncate(3_000_000_000)
    refused(name, "has 3 GB, more than")


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_link_to_a_file_outside(bundle: Path, refused: Callable[..., None], name: str, tmp_path: Path) -> None:
    (bundle / name).rename(tmp_path / "outside")
    (bundle / name).symlink_to(tmp_path / "outside")
    refused(name, "is a link to a file outside the bundle")


def test_bundle_in_a_linked_folder_is_opened(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bundle)
    assert Bundle.open(tmp_path / "link").spec == SPEC


@pytest.mark.parametrize("change, says", [
    (lambda weights: weights.pop("head.bias"), "the weights lack 'head.bias'"),
    (lambda weights: weights.update(extra=np.ones(1, np.float32)), "the weights hold 'extra'"),
    (lambda weights: weights.update({"head.bias": np.ones(4, np.float32)}), "'head.bias' has shape (4,)"),
    (lambda weights: weights.update({"head.bias": np.ones(3, np.int64)}), "'head.bias' has type int64"),
    (lambda weights: weights.update({"head.bias": np.full(3, np.nan, np.float32)}), "'head.bias' holds 3 values"),
])  # fmt: skip
def test_weights_that_do_not_fit_the_spec(
    bundle: Path, refused: Callable[..., None], change: Callable[[dict[str, Any]], Any], says: str
) -> None:
    weights = load_file(bundle / "weights.safetensors")
    change(weights)
    save_file(weights, bundle / "weights.safetensors")
    reseal(bundle)
    refused(says)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\0" * 100])
def test_weights_of_another_kind(bundle: Path, refused: Callable[..., None], content: bytes) -> None:
    (bundle / "weights.safetensors").write_bytes(content)
    reseal(bundle)
    refused("cannot read", "weights.safetensors", "Export it again")
