"""manifest.json: the file that says what the other files of a bundle are. Read here, and checked as one whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from drnn_core.errors import InputError
from drnn_core.plain_data import check_plain, read_json, schema_error, shipped_json
from drnn_models.file_kinds import MANIFEST as MANIFEST
from drnn_models.file_kinds import check_bundle_folder
from drnn_models.spec import ModelSpec
from drnn_runtimes.bundle.fit import check_manifest
from drnn_runtimes.bundle.infos import EngineInfo, GraphInfo, KernelInfo

FORMAT = "drnn-deploy-bundle/1"
REBUILD = "Export it again: drnn-export model.pt --output DIR"
_SCHEMA = "drnn_runtimes.bundle", "manifest.schema.json"
_MOST_BYTES = 4 << 20  # of the file; with 64 layers and ten graphs it has 0.3 MB
_MOST_VALUES = 100_000  # in it, likewise 30,000: a schema looks at each of them
_LONGEST_NAME = 255  # bytes of a file's name, as of most file systems
_SHOWN = 300  # characters of what is wrong with a value


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """What a manifest says of a file.

    Attributes:
        sha256: The digest of its content.
        bytes: Its size.
    """

    sha256: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A manifest whose entries fit together; see `Bundle`."""

    spec: ModelSpec
    task: dict[str, Any]
    graphs: tuple[GraphInfo, ...]
    engines: tuple[EngineInfo, ...]
    kernels: tuple[KernelInfo, ...]
    files: dict[str, FileInfo]
    versions: dict[str, str]
    emitter: int


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a bundle.

    Args:
        folder: The bundle.

    Raises:
        InputError: It is missing, damaged or edited, or describes no bundle. The message names the entry.
    """
    path = folder / MANIFEST
    check_bundle_folder(folder)
    check_inside(folder, path)
    try:
        data = read_json(path, _MOST_BYTES, parse_constant=_refuse_constant)
        check_plain(data, _MOST_VALUES)
        json.dumps(data, allow_nan=False)  # as 1e999, which JSON allows and no reader of a report does
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not valid JSON: {error}", REBUILD) from error
    if wrong := schema_error(data, *_SCHEMA):
        raise InputError(f"{path}: {wrong.json_path:.{_SHOWN}}: {wrong.message:.{_SHOWN}}", REBUILD)
    if data["checksum"] != manifest_checksum(data):
        raise InputError(f"{path} was changed after the export: its checksum differs", REBUILD)
    try:
        return _parsed(data)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", REBUILD) from error


def check_inside(folder: Path, path: Path) -> None:
    """Check that a file of a bundle is in its folder, and no link to elsewhere.

    Args:
        folder: The bundle.
        path: The file.

    Raises:
        InputError: It is elsewhere.
    """
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{path} is a link to a file outside the bundle", REBUILD)


def manifest_schema() -> dict[str, Any]:
    """The JSON schema of `manifest.json`."""
    schema: dict[str, Any] = shipped_json(*_SCHEMA)
    return schema


def manifest_checksum(manifest: Mapping[str, Any]) -> str:
    """The sha256 of a manifest's entries without `checksum`. It shows edits and damage, not forgery."""
    entries = {name: value for name, value in manifest.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _parsed(data: Mapping[str, Any]) -> Manifest:
    manifest = Manifest(
        spec=ModelSpec.from_json(data["spec"]),
        task=data["task"],
        graphs=tuple(map(GraphInfo.from_json, data["graphs"])),
        engines=tuple(EngineInfo(**entry) for entry in data["engines"]),
        kernels=tuple(KernelInfo(**entry) for entry in data.get("kernels", ())),
        files={name: FileInfo(**entry) for name, entry in data["files"].items()},
        versions=data["versions"],
        emitter=data.get("emitter", 0),
    )
    for name in manifest.files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
            raise InputError(f"the file name {name!r:.{_SHOWN}} points outside the bundle")
        if not name.isprintable() or len(name.encode()) > _LONGEST_NAME:
            raise InputError(f"the file name {name!r:.{_SHOWN}} is none that an export writes")
    check_manifest(manifest.spec, manifest.graphs, manifest.engines, manifest.kernels)
    return manifest


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")
