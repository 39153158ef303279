"""The bundles that the parts of `benchmarks.gpu.check` read: which graphs of a network, and with which engines."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, get_args

from benchmarks.gpu.plan import SMOKE, Row, Setting
from benchmarks.networks import STEPS, module, paper_network
from drnn_core.environment import package_version
from drnn_core.errors import InputError
from drnn_core.files import replacing
from drnn_deploy import ExportOptions, export
from drnn_deploy.exporter.engines import EngineResult
from drnn_models.cells import Cell
from drnn_models.checkpoint import Checkpoint, as_checkpoint, load_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle
from drnn_zoo import ZOO

CHUNK = 32
_NODES = 40_000  # the copy memory network over its 520 steps, unrolled


def sets_of(setting: Setting, name: str) -> dict[str, dict[str, Any]]:
    """Set -> `ExportOptions` of its bundle. Of the zoo's networks all precisions and forms, bfloat16 unrolled."""
    if name == SMOKE:
        return {cell: {"length": 16, "emissions": ("fused",), "batch": 1} for cell in get_args(Cell)}
    stream: dict[str, Any] = {"forms": ("chunk", "step"), "chunk": CHUNK, "emissions": ("unrolled",), "batch": 1}
    if name in get_args(Cell):
        whole: dict[str, Any] = {"length": STEPS, "emissions": ("fused",), "precisions": ("fp32", "fp16")}
        return {**{f"b{batch}": {**whole, "batch": batch} for batch in setting.batches}, "stream": stream}
    found: dict[str, dict[str, Any]] = {
        "sequence": {"emissions": ("fused",), "precisions": ("fp32", "fp16", "int8")},
        "stream": {**stream, "precisions": ("fp32", "fp16", "bf16", "int8")},
    }
    if not setting.quick:
        found["chunk"] = {"forms": ("chunk",), "chunk": CHUNK, "emissions": ("fused",), "precisions": ("fp32", "fp16")}
        found["blocked"] = {"emissions": ("blocked",), "precisions": ("fp32",), "batch": 1}
        found["unrolled"] = {"emissions": ("unrolled",), "precisions": ("fp32", "bf16"), "node_budget": _NODES}
    return found


def open_bundle(setting: Setting, name: str, of: str, runtime: str) -> Bundle:
    """The bundle of a set, once it was written. Raises `InputError` where it was not."""
    return Bundle.open(setting.folder(name, of, runtime))


def checkpoint_of(name: str, of: str = "") -> Checkpoint:
    """A network of the zoo, of the paper's with seeded weights by its cell, or a tiny one by its set, for a start."""
    if name not in (SMOKE, *get_args(Cell)):
        return load_checkpoint(ZOO / name / "model.pt")
    if name == SMOKE:
        model = module(ModelSpec(of, (8, 8), (1, 2), Continuous(1), Head("last", 4)))  # type: ignore[arg-type]
    else:
        model = paper_network(name)  # type: ignore[arg-type]
    return as_checkpoint(model)


def write_bundles(setting: Setting, name: str, flavour: str | None = None) -> Row:
    """Export every set of a network that is not there; with a flavour, build the engines.

    A build that fails is an entry with the reason.
    """
    graphs, engines = [], []
    for of, options in sets_of(setting, name).items():
        checkpoint = checkpoint_of(name, of)
        folder = setting.folder(name, of, flavour or "")
        made_of = _made_of(checkpoint, options)
        if not flavour and (kept := _kept(folder, made_of)):
            graphs += _graph_rows(of, kept)
            continue
        building: dict[str, Any] = {"engines": ()}
        if flavour:  # the seconds of a build are a result, so none comes from the cache
            building = {"engines": (flavour,), "engine_seconds": setting.engine_seconds, "engine_cache": False}
        chosen = ExportOptions(**options, **building, runtimes=())
        result = export(checkpoint, folder, chosen)
        if not flavour:
            with replacing(_note(folder)) as temporary:
                temporary.write_text(made_of, encoding="utf-8")
        graphs += _graph_rows(of, result.bundle)
        engines += [{"set": of, **_engine_row(engine)} for engine in result.engines]
    if not flavour:
        return {"status": "ok", "graphs": graphs}
    if refused := [row for row in engines if row["status"] != "ok"]:
        reason = (
            f"{len(refused)} of {len(engines)} engines were not built; {refused[0]['graph']}: {refused[0]['reason']}"
        )
        every = len(refused) == len(engines)
        return {"status": "refused" if every else "ok", **({"reason": reason} if every else {}), "engines": engines}
    return {"status": "ok", "engines": engines}


def _graph_rows(of: str, bundle: Bundle) -> list[Row]:
    return [{"set": of, "graph": graph.name, "nodes": graph.nodes} for graph in bundle.graphs]


def _made_of(checkpoint: Checkpoint, options: Row) -> str:
    """A digest of all that decides what is in a bundle."""
    digest = hashlib.sha256(
        repr((package_version(), checkpoint.spec, checkpoint.task, sorted(options.items()))).encode()
    )
    for name, value in sorted(checkpoint.weights.items()):
        digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.made-of")


def _kept(folder: Path, made_of: str) -> Bundle | None:
    """The bundle that an earlier run left, if it is whole and would be made of the same again."""
    try:
        same = _note(folder).read_text(encoding="utf-8") == made_of
        return Bundle.open(folder) if same else None
    except (OSError, InputError):
        return None


def _engine_row(result: EngineResult) -> Row:
    sidecar = result.sidecar
    row: Row = {"graph": result.graph, "flavour": result.backend}
    if sidecar is None:
        return {**row, "status": "refused", "reason": f"{result.reason} {result.fix}".strip()}
    sizes = {"engine_bytes": sidecar.engine_bytes, "kernels": sidecar.kernels, "loops": sidecar.loops}
    return {**row, "status": "ok", "build_seconds": sidecar.build_seconds, **sizes}
