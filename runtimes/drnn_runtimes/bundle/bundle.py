"""Bundles: the folder that an export writes and every runtime reads. Needs no torch.

model.onnx, ...     graphs, one per form and emission
engines/            TensorRT engines, each with its sidecar
weights.safetensors the weights in torch's gate order, for the reference and torch runtimes
golden.npz          inputs, float64 outputs and float32 noise of every golden case
parity.json         what the parity run at export found
manifest.json       what all of these are, with the sha256 of each
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from drnn_core.errors import EngineError, InputError
from drnn_core.files import sha256
from drnn_core.plain_data import parse_json, schema_error, shipped_json
from drnn_core.types import Emission, Form, NamedGraph, Precision, TensorInfo
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights, check_weights
from drnn_runtimes.bundle.golden import REBUILD, GoldenCase, read_golden

FORMAT = "drnn-deploy-bundle/1"
_SCHEMA = "drnn_runtimes.bundle", "manifest.schema.json"
MANIFEST, GOLDEN, WEIGHTS, PARITY = "manifest.json", "golden.npz", "weights.safetensors", "parity.json"


@dataclasses.dataclass(frozen=True)
class GraphInfo(NamedGraph):
    """One ONNX graph of a bundle.

    Attributes:
        file: Its name in the bundle.
        form: Whole sequences, chunks or single steps.
        emission: How the network was written as nodes.
        pruned: Whether it leaves out steps that cannot reach the output.
        steps: Time steps of one run.
        batch: Sequences of one run; None for any number.
        precision: Of matrix products.
        opset: The version of ONNX's operators.
        nodes: The number of nodes.
        inputs: The edges that it reads.
        outputs: The edges that it writes.
        states: Names of (input, output) pairs that carry the state.
        ring: Whether only what changes of a delay line goes in and out, the line being longer than the chunk.
        delay: Steps between an input and its output.
        profile: The smallest, usual and largest batch for which engines are built and which are checked; None for a
            graph of one batch.
    """

    file: str
    form: Form
    emission: Emission
    pruned: bool
    steps: int
    batch: int | None
    precision: Precision
    opset: int
    nodes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    states: tuple[tuple[str, str], ...] = ()
    ring: bool = False
    delay: int = 0
    profile: tuple[int, int, int] | None = None


@dataclasses.dataclass(frozen=True)
class EngineInfo:
    """One engine of a bundle.

    Attributes:
        file: The engine's path in the bundle.
        sidecar: Its description.
        graph: The ONNX file that it was built from.
        runtime: The runtime that loads it.
    """

    file: str
    sidecar: str
    graph: str
    runtime: str


@dataclasses.dataclass(frozen=True)
class Bundle:
    """An opened bundle whose files are what its manifest says.

    Attributes:
        folder: Where it is.
        spec: The network.
        task: What the network was trained for; empty where unknown.
        graphs: Its ONNX files.
        engines: Its engines.
        files: Relative path -> sha256.
        versions: Package -> version, of the export.
    """

    folder: Path
    spec: ModelSpec
    task: dict[str, Any]
    graphs: tuple[GraphInfo, ...]
    engines: tuple[EngineInfo, ...]
    files: dict[str, str]  # relative path -> sha256
    versions: dict[str, str]

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> Bundle:
        """Read a bundle.

        Args:
            folder: Where it is.
            verify: Whether to compare every file's sha256 with the manifest.

        Raises:
            InputError: The manifest or a file is missing, damaged or edited.
            EngineError: An engine or its sidecar is.
        """
        manifest = _read_manifest(folder)
        bundle = cls(
            folder=folder,
            spec=_spec(folder, manifest),
            task=manifest["task"],
            graphs=tuple(_graph(entry) for entry in manifest["graphs"]),
            engines=tuple(EngineInfo(**entry) for entry in manifest["engines"]),
            files={name: entry["sha256"] for name, entry in manifest["files"].items()},
            versions=manifest["versions"],
        )
        bundle._check_files(verify)
        return bundle

    def path(self, name: str) -> Path:
        """The path of a file of the bundle."""
        return self.folder / name

    def graph(self, name: str) -> GraphInfo:
        """Find a graph.

        Args:
            name: Its file, form, kind, or kind/emission.

        Raises:
            InputError: There is none.
        """
        for graph in self.graphs:
            if name in (graph.file, graph.name, graph.kind, graph.form):
                return graph
        known = ", ".join(graph.name for graph in self.graphs)
        raise InputError(f"{self.folder} has no graph {name!r}", f"It has: {known}.")

    @functools.cached_property
    def weights(self) -> Weights:
        """The weights, in torch's gate order.

        Raises:
            InputError: The file is damaged or does not fit the spec.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return check_weights(self.spec, load_file(self.path(WEIGHTS)))
        except (OSError, SafetensorError) as error:
            raise InputError(f"cannot read {self.path(WEIGHTS)}: {error}", REBUILD) from error
        except InputError as error:
            raise InputError(f"{self.path(WEIGHTS)}: {error.message}", REBUILD) from error

    @functools.cached_property
    def golden(self) -> tuple[GoldenCase, ...]:
        """The golden cases.

        Raises:
            InputError: The file is damaged.
        """
        return read_golden(self.path(GOLDEN))

    def _check_files(self, verify: bool) -> None:
        of_engines = {name for engine in self.engines for name in (engine.file, engine.sidecar)}
        named = {WEIGHTS, GOLDEN, *(graph.file for graph in self.graphs)} | of_engines
        if unlisted := sorted(named - set(self.files)):
            raise InputError(f"{self.folder / MANIFEST} names {unlisted[0]!r} but lists no sha256 for it", REBUILD)
        for name, expected in self.files.items():
            path, damaged = self.path(name), EngineError if name in of_engines else InputError
            if not path.is_file():
                raise damaged(f"{path} is missing from the bundle", REBUILD)
            if verify and sha256(path) != expected:
                raise damaged(f"{path} is not the file that the manifest describes: its sha256 differs", REBUILD)


def manifest_schema() -> dict[str, Any]:
    """The JSON schema of `manifest.json`."""
    schema: dict[str, Any] = shipped_json(*_SCHEMA)
    return schema


def manifest_checksum(manifest: Mapping[str, Any]) -> str:
    """The sha256 of a manifest's entries without `checksum`. It shows edits and damage, not forgery."""
    entries = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{folder} is not a bundle: it has no {MANIFEST}", "Make one: drnn-export model.pt --output DIR"
        )
    try:
        manifest: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not valid JSON: {error}", REBUILD) from error
    if wrong := schema_error(manifest, *_SCHEMA):
        raise InputError(f"{path}: {wrong.json_path}: {wrong.message}", REBUILD)
    for name in manifest["files"]:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
            raise InputError(f"{path}: the file name {name!r} points outside the bundle", REBUILD)
    if manifest["checksum"] != manifest_checksum(manifest):
        raise InputError(f"{path} was changed after the export: its checksum differs", REBUILD)
    return manifest


def _spec(folder: Path, manifest: Mapping[str, Any]) -> ModelSpec:
    try:
        return ModelSpec.from_json(manifest["spec"])
    except InputError as error:
        raise InputError(f"{folder / MANIFEST}: {error.message}", REBUILD) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")


def _graph(entry: Mapping[str, Any]) -> GraphInfo:
    tensors = {side: tuple(map(TensorInfo.from_json, entry[side])) for side in ("inputs", "outputs")}
    states = tuple((name, after) for name, after in entry["states"])
    profile = None if entry["profile"] is None else tuple(entry["profile"])
    return GraphInfo(**{**entry, **tensors, "states": states, "profile": profile})
