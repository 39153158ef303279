"""The bundles that the parts of `benchmarks.gpu.check` read: which graphs of a network, and with which engines."""

from __future__ import annotations

from typing import Any, get_args

from benchmarks.gpu.plan import Setting
from benchmarks.latency import STEPS, network
from drnn_deploy import ExportOptions, export
from drnn_deploy.exporter.pipeline import EngineResult
from drnn_models.cells import Cell
from drnn_models.checkpoint import Checkpoint, load_checkpoint
from drnn_runtimes.bundle import Bundle
from drnn_zoo import ZOO

Row = dict[str, Any]
CHUNK = 32
_NODES = 40_000  # the copy memory network over its 520 steps, unrolled


def sets_of(setting: Setting, name: str) -> dict[str, dict[str, Any]]:
    """Set -> `ExportOptions` of its bundle. Of the zoo's networks all precisions and forms, bfloat16 unrolled."""
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
        found["unrolled"] = {"emissions": ("unrolled",), "precisions": ("fp32", "bf16"), "node_budget": _NODES}
    return found


def open_bundle(setting: Setting, name: str, of: str, runtime: str) -> Bundle:
    """The bundle of a set, once it was written. Raises `InputError` where it was not."""
    return Bundle.open(setting.folder(name, of, runtime))


def checkpoint_of(name: str) -> Checkpoint:
    """A network of the zoo, or of the paper's with seeded weights by its cell."""
    if name in get_args(Cell):
        model = network(name)  # type: ignore[arg-type]
        return Checkpoint(model.spec, {key: value.numpy() for key, value in model.state_dict().items()})
    return load_checkpoint(ZOO / name / "model.pt")


def write_bundles(setting: Setting, name: str, flavour: str | None = None) -> Row:
    """Export every set of a network; with a flavour, build the engines. A build that fails is a row with the reason."""
    checkpoint, graphs, engines = checkpoint_of(name), [], []
    for of, options in sets_of(setting, name).items():
        folder = setting.folder(name, of, flavour or "")
        chosen = ExportOptions(
            **options,
            engines=(flavour,) if flavour else (),
            engine_seconds=setting.engine_seconds,
            engine_cache=False,  # the seconds of a build are a result
            runtimes=(),
        )
        result = export(checkpoint, folder, chosen)
        graphs += [{"set": of, "graph": graph.name, "nodes": graph.nodes} for graph in result.bundle.graphs]
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


def _engine_row(result: EngineResult) -> Row:
    sidecar = result.sidecar
    row: Row = {"graph": result.graph, "flavour": result.backend}
    if sidecar is None:
        return {**row, "status": "refused", "reason": f"{result.reason} {result.fix}".strip()}
    sizes = {"engine_bytes": sidecar.engine_bytes, "kernels": sidecar.kernels, "loops": sidecar.loops}
    return {**row, "status": "ok", "build_seconds": sidecar.build_seconds, **sizes}
