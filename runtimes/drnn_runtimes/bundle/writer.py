"""Writes the parts of a bundle that are not graphs: the weights and the manifest."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drnn_core.environment import installed_versions, package_version
from drnn_core.files import sha256
from drnn_models.spec import ModelSpec
from drnn_models.weights import Weights
from drnn_runtimes.bundle.bundle import WEIGHTS
from drnn_runtimes.bundle.fit import check_manifest
from drnn_runtimes.bundle.infos import EngineInfo, GraphInfo, KernelInfo
from drnn_runtimes.bundle.manifest import FORMAT, MANIFEST, manifest_checksum


def write_weights(folder: Path, weights: Weights) -> None:
    """Write the weights that the runtimes `reference` and `torch` run.

    Args:
        folder: The bundle, which exists.
        weights: Tensor name -> float32 array, as `NetworkSpec.weight_shapes` says.

    Raises:
        OSError: The file cannot be written.
    """
    from safetensors.numpy import save

    (folder / WEIGHTS).write_bytes(save(dict(weights)))  # its save_file hides why a disk cannot be written


def write_manifest(
    folder: Path,
    spec: ModelSpec,
    task: Mapping[str, Any],
    graphs: Sequence[GraphInfo],
    engines: Sequence[EngineInfo] = (),
    kernels: Sequence[KernelInfo] = (),
    *,
    emitter: int = 0,
) -> None:
    """Write the manifest over everything else that is in the folder; `Bundle.open` reads it.

    Args:
        folder: The bundle, all of whose other files are there already.
        spec: The network, with dilations of its own.
        task: What the network was trained for; empty where unknown.
        graphs: The ONNX files in the folder.
        engines: The engines in the folder.
        kernels: The images of the CUDA kernel in the folder.
        emitter: The revision of the emitter that wrote the graphs (`drnn_export.emitter.revision`); 0 for none.

    Raises:
        InputError: They do not fit together, or a run of a graph would take too much (`drnn_runtimes.bundle.fit`).
    """
    check_manifest(spec, graphs, engines, kernels)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "spec": spec.to_json(),
        "task": dict(task),
        "graphs": [dataclasses.asdict(graph) for graph in graphs],
        "engines": [dataclasses.asdict(engine) for engine in engines],
        "files": {
            path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
            for path in paths
        },
        "versions": {
            "drnn-deploy": package_version(),
            "python": platform.python_version(),
            **installed_versions(("numpy", "onnx")),
        },
    }
    if kernels:
        manifest["kernels"] = [dataclasses.asdict(kernel) for kernel in kernels]
    if emitter:
        manifest["emitter"] = emitter
    manifest["checksum"] = manifest_checksum(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
