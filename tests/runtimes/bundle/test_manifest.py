"""Manifests edited by hand: each is refused with the entry that is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drnn_deploy.cli import main
from drnn_runtimes.bundle import manifest_schema
from tests.runtimes.bundle.damage import edit
from tests.sealing import read_manifest


def test_manifest_fits_a_schema_that_is_valid_itself() -> None:
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(manifest_schema())


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
    (graph,) = read_manifest(bundle)["graphs"]
    edit(bundle, graphs=[{**graph, key: value}])
    refused(f"graphs[0].{key}: they are", "and the network's are")


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
        lambda found: {
            "files": {**found["files"], "model.onnx": found["files"]["model.onnx"] | {"sha256": "0" * 64}},
        },
        "sha256",
    ),
    "short sha": (lambda found: {"files": {**found["files"], "model.onnx": {"sha256": "0", "bytes": 1}}}, "$.files"),
    "file above": (add_file("../x"), "'../x' points outside the bundle"),
    "file above, by a detour": (add_file("engines/../../x"), "points outside the bundle"),
    "absolute path": (add_file("/etc/passwd"), "'/etc/passwd' points outside the bundle"),
    "path of Windows": (add_file("..\\x"), "points outside the bundle"),
    "file without a name": (add_file(""), "is missing from the bundle"),
    "the folder itself": (add_file("."), "is missing from the bundle"),
    "file name of many bytes": (add_file("é" * 200), "is none that an export writes"),
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
    edit(bundle, **change(read_manifest(bundle)))
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


def test_manifest_edited_without_its_checksum(bundle: Path, refused: Callable[..., None]) -> None:
    path = bundle / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"steps": 8', '"steps": 9'), encoding="utf-8")
    refused("manifest.json was changed after the export: its checksum differs", "Export it again")


@pytest.mark.parametrize("key", ["format", "spec", "task", "graphs", "engines", "files", "versions", "checksum"])
def test_manifest_without_an_entry(bundle: Path, refused: Callable[..., None], key: str) -> None:
    found = read_manifest(bundle)
    del found[key]
    (bundle / "manifest.json").write_text(json.dumps(found), encoding="utf-8")
    refused("manifest.json", f"'{key}' is a required property")


@pytest.mark.parametrize("content", [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": NaN}', b"[" * 100_000, b"1" * 10_000, b'{"a":' * 20_000,
])  # fmt: skip
def test_manifest_that_is_no_manifest(bundle: Path, refused: Callable[..., None], content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    refused("manifest.json", "Export it again")
