"""Bundles that were damaged or edited by hand: each is refused with the name of what is wrong."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from drnn_core.errors import InputError
from drnn_deploy.cli import main
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.exporter.pipeline import export
from drnn_deploy.parity.check import check_parity
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, manifest_checksum, manifest_schema
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.registry import require
from tests.networks import random_inputs, random_weights

SPEC = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))
FILES = ("model.onnx", "weights.safetensors", "golden.npz", "parity.json")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / "bundle"
    export(Checkpoint(SPEC, random_weights(SPEC, 0)), folder, ExportOptions(length=8, engines=(), runtimes=("torch",)))
    return folder


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


@pytest.fixture
def refused(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Check that `drnn-deploy inspect` refuses the bundle: exit code 2, one message that says `says`, and advice."""

    def check(*says: str) -> None:
        monkeypatch.setattr(sys, "argv", ["drnn-deploy", "inspect", str(bundle), "--json", "-"])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        assert exit_.value.code == 2
        message, *advice = err.strip().splitlines()
        assert message.startswith("drnn-deploy: ")
        assert advice
        for words in says:
            assert words in err
        assert json.loads(out)["passed"] is False
        assert "Traceback" not in err

    return check


def manifest(bundle: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    return content


def edit(bundle: Path, **changes: Any) -> None:
    """Change entries of the manifest, and its checksum with them."""
    entries = {**manifest(bundle), **changes}
    (bundle / "manifest.json").write_text(
        json.dumps({**entries, "checksum": manifest_checksum(entries)}), encoding="utf-8"
    )


def vouch_for(bundle: Path, name: str) -> None:
    """Write a file's sha256 into the manifest, as somebody would who wants the damage to pass."""
    files = manifest(bundle)["files"]
    files[name]["sha256"] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    edit(bundle, files=files)


def test_bundle_opens_as_it_was_written(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    assert opened.spec == SPEC
    assert set(opened.files) == set(FILES)
    for name, value in opened.weights.items():
        np.testing.assert_array_equal(value, random_weights(SPEC, 0)[name])
    assert all(case.outputs.dtype == np.float64 for case in opened.golden)


def test_manifest_fits_a_schema_that_is_valid_itself() -> None:
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(manifest_schema())


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx", "sequence", "sequence/fused"])
def test_graphs_are_found_by_file_form_and_emission(bundle: Path, name: str) -> None:
    assert Bundle.open(bundle).graph(name).file == "model.onnx"


def test_graph_that_is_not_there_is_refused_with_those_that_are(bundle: Path) -> None:
    with pytest.raises(InputError, match="no graph 'chunk'") as refusal:
        Bundle.open(bundle).graph("chunk")
    assert "sequence/fused" in refusal.value.fix


# files


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
    refused(name, "sha256 differs", "Export it again")


def test_missing_folder_and_folder_without_a_manifest(
    bundle: Path, refused: Callable[..., None], tmp_path: Path
) -> None:
    (bundle / "manifest.json").unlink()
    refused("is not a bundle: it has no manifest.json", "drnn-export model.pt")
    shutil.rmtree(bundle)
    refused("is not a bundle")
    bundle.write_text("a file", encoding="utf-8")
    refused("is a file, and a bundle is a folder")


# graphs that the manifest vouches for


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.97])
def test_graph_cut_short_that_the_manifest_vouches_for(
    bundle: Path, refused: Callable[..., None], share: float
) -> None:
    whole = (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(whole[: int(share * len(whole))])
    vouch_for(bundle, "model.onnx")
    refused("model.onnx", "cut short", "Export it again")
    opened = Bundle.open(bundle)
    with pytest.raises(InputError, match="cannot be loaded"), OnnxRuntime("cpu").load(opened, opened.graphs[0]):
        pytest.fail("it loaded")
    report = check_parity(opened, require(["torch", "onnxruntime-cpu"]))
    assert (report.passed, report.exit_code) == (False, 2)
    assert [(row.runtime, row.passed) for row in report.rows] == [("torch", True), ("onnxruntime-cpu", False)]
    assert "model.onnx cannot be loaded" in report.rows[1].error


@pytest.mark.parametrize("damage", [
    lambda model: model.graph.node.pop(),
    lambda model: model.graph.initializer.pop(),
    lambda model: setattr(model.graph.node[0], "op_type", "Transponse"),
    lambda model: setattr(model.graph.node[1], "op_type", "Exec"),
    lambda model: setattr(model.graph.input[0], "name", "x"),
    lambda model: setattr(model.graph.output[0], "name", "logits"),
], ids=["node", "weights", "operator", "other operator", "input", "output"])  # fmt: skip
def test_graph_that_is_no_longer_a_graph(bundle: Path, damage: Callable[[onnx.ModelProto], Any]) -> None:
    model = onnx.load(bundle / "model.onnx")
    damage(model)
    onnx.save(model, bundle / "model.onnx")
    vouch_for(bundle, "model.onnx")
    report = check_parity(Bundle.open(bundle), require(["onnxruntime-cpu"]))
    assert (report.passed, report.exit_code) == (False, 2)


@pytest.mark.parametrize("key, value", [
    ("inputs", [{"name": "x", "dtype": "float32", "shape": [1, 8, 2]}]),
    ("inputs", [{"name": "input", "dtype": "float32", "shape": [1, 9, 2]}]),
    ("inputs", [{"name": "input", "dtype": "float32", "shape": [-1, 8, 2]}]),
    ("inputs", [{"name": "input", "dtype": "int64", "shape": [1, 8, 2]}]),
    ("outputs", [{"name": "logits", "dtype": "float32", "shape": [1, 3]}]),
    ("outputs", [{"name": "output", "dtype": "float32", "shape": [1, 4]}]),
    ("outputs", [{"name": "output", "dtype": "float32", "shape": [1, 3]}] * 2),
])  # fmt: skip
def test_manifest_that_describes_another_graph(
    bundle: Path, refused: Callable[..., None], key: str, value: list[Any]
) -> None:
    (graph,) = manifest(bundle)["graphs"]
    edit(bundle, graphs=[{**graph, key: value}])
    refused(f"graphs[0].{key}: they are", "and the network's are")


def test_error_of_onnxruntime_while_running_is_explained(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    with OnnxRuntime("cpu").load(opened, opened.graphs[0]) as session:
        session._names = ["logits"]
        with pytest.raises(InputError, match="ONNX Runtime cannot run sequence/fused"):
            session.run({"input": random_inputs(SPEC, 1, 8, 0)})


# the manifest


def change_graph(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: {"graphs": [{**found["graphs"][0], **changes}]}


def rename_file(old: str, new: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: {"files": {new if name == old else name: entry for name, entry in found["files"].items()}}


def add_file(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: {"files": {**found["files"], name: {"sha256": "0" * 64, "bytes": 1}}}


EDITS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "unknown key": (lambda found: {"comment": "mine"}, "'comment' was unexpected"),
    "another format": (lambda found: {"format": "drnn-deploy-bundle/2"}, "$.format"),
    "graphs missing": (lambda found: {"graphs": []}, "$.graphs"),
    "graphs of another type": (lambda found: {"graphs": "model.onnx"}, "$.graphs"),
    "task of another type": (lambda found: {"task": None}, "$.task"),
    "unknown key of a graph": (change_graph(comment=1), "$.graphs[0]"),
    "unknown form": (change_graph(form="stream"), "$.graphs[0].form"),
    "unknown precision": (change_graph(precision="fp4"), "$.graphs[0].precision"),
    "steps 0": (change_graph(steps=0), "$.graphs[0].steps"),
    "steps that are text": (change_graph(steps="8"), "$.graphs[0].steps"),
    "steps that are a float": (change_graph(steps=8.0), "$.graphs[0].steps: 8.0 is not of type 'integer'"),
    "steps beyond the reference": (change_graph(steps=10**9), "graphs[0].steps: 1,000,000,000 steps and the dilations"),
    "batch of a billion": (change_graph(batch=10**9), "graphs[0].inputs: they are input float32 [1, 8, 2], and"),
    "delay of 10^30": (
        change_graph(delay=10**30),
        "graphs[0].delay: it says 1,000,000,000,000,000,000,000,000,000,000",
    ),
    "output without axes": (
        change_graph(outputs=[{"name": "output", "dtype": "float32", "shape": []}]),
        "graphs[0].outputs: they are output float32 [], and the network's are output float32 [1, 3]",
    ),
    "states that there are not": (
        change_graph(states=[["state_a", "next_state_a"]]),
        "graphs[0].states: they are [('state_a', 'next_state_a')], and the network's are []",
    ),
    "two graphs of one name": (
        lambda found: {"graphs": [found["graphs"][0]] * 2},
        "graphs: two have the file 'model.onnx'",
    ),
    "batch 0": (change_graph(batch=0), "$.graphs[0].batch"),
    "input without a shape": (change_graph(inputs=[{"name": "input", "dtype": "float32"}]), "$.graphs[0].inputs[0]"),
    "graph outside": (change_graph(file="../model.onnx"), "'../model.onnx' but lists no sha256"),
    "graph that is not listed": (change_graph(file="other.onnx"), "'other.onnx' but lists no sha256"),
    "graph that is no graph": (change_graph(file="golden.npz"), "$.graphs[0].file"),
    "engine that is not listed": (
        lambda found: {"engines": [{"file": "e", "sidecar": "s", "graph": "model.onnx", "runtime": "tensorrt"}]},
        "'e' but lists no sha256",
    ),
    "engine of another runtime": (
        lambda found: {"engines": [{"file": "e", "sidecar": "s", "graph": "model.onnx", "runtime": "cuda"}]},
        "$.engines[0].runtime",
    ),
    "weights not listed": (rename_file("weights.safetensors", "w"), "'weights.safetensors' but lists no sha256"),
    "golden data not listed": (rename_file("golden.npz", "g"), "'golden.npz' but lists no sha256"),
    "wrong sha": (
        lambda found: {"files": {**found["files"], "model.onnx": {"sha256": "0" * 64, "bytes": 1}}},
        "sha256",
    ),
    "short sha": (lambda found: {"files": {**found["files"], "model.onnx": {"sha256": "0", "bytes": 1}}}, "$.files"),
    "file above": (add_file("../x"), "'../x' points outside the bundle"),
    "file above, by a detour": (add_file("engines/../../x"), "points outside the bundle"),
    "absolute path": (add_file("/etc/passwd"), "'/etc/passwd' points outside the bundle"),
    "path of Windows": (add_file("..\\x"), "points outside the bundle"),
    "file without a name": (add_file(""), "is missing from the bundle"),
    "the folder itself": (add_file("."), "is missing from the bundle"),
    "file name with a null": (add_file("a\0b"), "the file name 'a\\x00b' is none that an export writes"),
    "spec of another cell": (
        lambda found: {"spec": {**found["spec"], "cell": "lstm"}},
        "weight 'layers.0.weight_ih_l0'",
    ),
    "spec with an unknown field": (
        lambda found: {"spec": {**found["spec"], "dropout": 0.5}},
        "unknown field 'dropout'",
    ),
    "spec with a bad dilation": (lambda found: {"spec": {**found["spec"], "dilations": [1, -2]}}, "spec.dilations[1]"),
    "spec with more layers": (
        lambda found: {"spec": {**found["spec"], "hidden": [4, 5, 5], "dilations": [1, 2, 4]}},
        "the weights lack 'layers.2",
    ),
    "NaN": (lambda found: {"task": {"length": float("nan")}}, "NaN"),
    "infinity": (lambda found: {"spec": {**found["spec"], "dilations": [1, float("inf")]}}, "Infinity"),
}


@pytest.mark.parametrize("name", EDITS)
def test_manifest_edited_by_hand(bundle: Path, refused: Callable[..., None], name: str) -> None:
    change, says = EDITS[name]
    edit(bundle, **change(manifest(bundle)))
    refused(says)


@pytest.mark.parametrize("text", ["[/red]", "[bold]x", "\x1b[2J", "a" * 10_000])
def test_text_of_a_manifest_is_shown_as_the_text_that_it_is(
    bundle: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(bundle, versions={"x": text}, task={"name": text})
    monkeypatch.setattr(sys, "argv", ["drnn-deploy", "inspect", str(bundle)])
    with pytest.raises(SystemExit) as exit_:
        main()
    out, err = capsys.readouterr()
    assert (exit_.value.code, err) == (0, "")
    assert "\x1b" not in out
    assert text.replace("\x1b", "") in out.replace("\n", "") or "\x1b" in text


def test_manifest_with_a_number_beyond_float(bundle: Path, refused: Callable[..., None]) -> None:
    path = bundle / "manifest.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"task": {}', '"task": {"length": 1e999}'), encoding="utf-8")
    refused("manifest.json is not valid JSON: Out of range float values")


@pytest.mark.parametrize(("size", "shown"), [(5_000_000, "5 MB"), (10_000_000_000, "10 GB")])
def test_manifest_too_large_to_be_one_is_not_read(
    bundle: Path, refused: Callable[..., None], size: int, shown: str
) -> None:
    with (bundle / "manifest.json").open("r+b") as file:
        file.truncate(size)
    refused(f"manifest.json is not valid JSON: it is {shown} long, more than 4.19 MB")


def test_manifest_of_very_many_values(bundle: Path, refused: Callable[..., None]) -> None:
    (bundle / "manifest.json").write_text("[" + "{}," * 200_000 + "{}]", encoding="utf-8")
    refused("it holds more than 100,000 values")


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


def test_manifest_edited_without_its_checksum(bundle: Path, refused: Callable[..., None]) -> None:
    path = bundle / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"steps": 8', '"steps": 9'), encoding="utf-8")
    refused("manifest.json was changed after the export: its checksum differs", "Export it again")


@pytest.mark.parametrize("key", ["format", "spec", "task", "graphs", "engines", "files", "versions", "checksum"])
def test_manifest_without_an_entry(bundle: Path, refused: Callable[..., None], key: str) -> None:
    found = manifest(bundle)
    del found[key]
    (bundle / "manifest.json").write_text(json.dumps(found), encoding="utf-8")
    refused("manifest.json", f"'{key}' is a required property")


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": NaN}', b"[" * 100_000, b"1" * 10_000, b'{"a":' * 20_000,
])  # fmt: skip
def test_manifest_that_is_no_manifest(bundle: Path, refused: Callable[..., None], content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    refused("manifest.json", "Export it again")


# golden data and weights that the manifest vouches for


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def golden(bundle: Path, **changes: Any) -> None:
    """Replace arrays of golden.npz, or remove those that are None, and vouch for it."""
    with np.load(bundle / "golden.npz") as arrays:
        content = {name: array for name, array in {**arrays, **changes}.items() if array is not None}
    with (bundle / "golden.npz").open("wb") as file:
        np.savez(file, **content)
    vouch_for(bundle, "golden.npz")


INDEXED = {"name": "zeros", "noise": 1e-7, "narrow_noise": {}, "source": "", "labelled": False, "stream": False}


def index(**changes: Any) -> Any:
    return np.array(json.dumps([{**INDEXED, **changes}]))


def test_pickled_arrays_are_refused_and_not_unpickled(
    bundle: Path, refused: Callable[..., None], tmp_path: Path
) -> None:
    golden(bundle, **{"zeros.inputs": np.array([Bomb(tmp_path / "marker")], dtype=object)})
    refused("golden.npz", "Object arrays cannot be loaded", "Export it again")
    assert not (tmp_path / "marker").exists()


def test_pickle_in_place_of_the_archive_is_not_unpickled(
    bundle: Path, refused: Callable[..., None], tmp_path: Path
) -> None:
    np.array([Bomb(tmp_path / "marker")], dtype=object).dump(bundle / "golden.npz")
    vouch_for(bundle, "golden.npz")
    refused("golden.npz")
    assert not (tmp_path / "marker").exists()


GOLDEN: dict[str, dict[str, Any]] = {
    "no index": {"index": None},
    "index that is no JSON": {"index": np.array("zeros")},
    "index of a number": {"index": np.array("3")},
    "no cases": {"index": np.array("[]")},
    "entry without a name": {"index": np.array("[{}]")},
    "case that is not there": {"index": index(name="other")},
    "targets that are not there": {"index": index(labelled=True)},
    "noise that is text": {"index": index(noise="small")},
    "noise NaN": {"index": index(noise=float("nan"))},
    "noise that lets everything pass": {"index": index(noise=float("inf"))},
    "negative noise": {"index": index(noise=-1e-7)},
    "outputs missing": {"zeros.outputs": None},
    "outputs in float32": {"zeros.outputs": np.zeros((4, 3), np.float32)},
    "outputs NaN": {"zeros.outputs": np.full((4, 3), np.nan)},
    "outputs of fewer sequences": {"zeros.outputs": np.zeros((3, 3))},
    "outputs without a class": {"zeros.outputs": np.zeros((4, 0))},
    "outputs flat": {"zeros.outputs": np.zeros(4)},
    "inputs flat": {"zeros.inputs": np.zeros(())},
}


def test_golden_data_replaced_by_whole_data_is_read(bundle: Path) -> None:
    golden(bundle, index=index())
    assert [case.name for case in Bundle.open(bundle).golden] == ["zeros"]


@pytest.mark.parametrize("change", GOLDEN)
def test_golden_data_damaged(bundle: Path, refused: Callable[..., None], change: str) -> None:
    golden(bundle, **GOLDEN[change])
    refused("golden.npz", "Export it again")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_golden_data_cut_short(bundle: Path, refused: Callable[..., None], share: float) -> None:
    whole = (bundle / "golden.npz").read_bytes()
    (bundle / "golden.npz").write_bytes(whole[: int(share * len(whole))])
    vouch_for(bundle, "golden.npz")
    refused("golden.npz")


def test_golden_data_that_would_unpack_to_more_than_memory(bundle: Path, refused: Callable[..., None]) -> None:
    """By what the archive's directory says: nothing is unpacked."""
    with zipfile.ZipFile(bundle / "golden.npz", "a") as archive:
        archive.writestr("more.npy", bytes(1 << 10))
        archive.getinfo("more.npy").file_size = 1 << 32
    vouch_for(bundle, "golden.npz")
    refused("golden.npz: it unpacks to 4.29 GB, more than")


def test_golden_data_with_a_wrong_checksum(bundle: Path, refused: Callable[..., None]) -> None:
    buffer = io.BytesIO()
    with np.load(bundle / "golden.npz") as arrays:
        np.savez(buffer, **arrays)
    content = bytearray(buffer.getvalue())
    with zipfile.ZipFile(buffer) as archive:
        content[archive.getinfo("normal.outputs.npy").header_offset + 400] ^= 1
    (bundle / "golden.npz").write_bytes(content)
    vouch_for(bundle, "golden.npz")
    refused("golden.npz")


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
    vouch_for(bundle, "weights.safetensors")
    refused(says)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\0" * 100])
def test_weights_of_another_kind(bundle: Path, refused: Callable[..., None], content: bytes) -> None:
    (bundle / "weights.safetensors").write_bytes(content)
    vouch_for(bundle, "weights.safetensors")
    refused("cannot read", "weights.safetensors", "Export it again")
