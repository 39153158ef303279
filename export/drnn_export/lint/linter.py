"""What NVIDIA's ONNX parsers will make of a graph, said without them: a static check of any ONNX file.

`lint_file` reads a file, `lint_model` takes a model. Both work in another process (`drnn_export.lint.process`): nothing
of a file is trusted. They look up `tables.toml`, which says where its facts are from, and run the rules of
`weight_rules`, `node_rules` and those beside them.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError
from drnn_core.gpu import compute_capability
from drnn_core.plain_data import MAX_DEPTH
from drnn_export.lint.free_axes import SitesAt, frozen_findings, has_free_axes, sites_at
from drnn_export.lint.functions import function_size
from drnn_export.lint.gpu_rules import generation_findings
from drnn_export.lint.graph_view import Site, bodies, load_graph, sites, with_inferred_types, without_large_weights
from drnn_export.lint.node_rules import STANDARD_DOMAINS, node_findings
from drnn_export.lint.process import Findings, ask_lint, check_size
from drnn_export.lint.scope import shape_of, type_name
from drnn_export.lint.tables import TARGETS, Finding, LintTarget, Severity, Table, load_table
from drnn_export.lint.weight_rules import constant_findings, weight_findings
from drnn_export.lint.wiring_rules import wiring_findings

if TYPE_CHECKING:
    import onnx

__all__ = [
    "MISREAD",
    "TARGETS",
    "UNBUILDABLE",
    "Finding",
    "Findings",
    "LintTarget",
    "Severity",
    "lint_file",
    "lint_model",
    "load_table",
]

UNBUILDABLE = frozenset({"compute-capability", "endless"})  # refused in words that do not help, or never
MISREAD = frozenset(  # accepted in silence, computed differently
    (
        *("activation-value", "attribute-value", "clip", "domain", "empty-reduction", "empty-sequence", "float64"),
        *("layout", "pad-wrap", "slice-end", "uint8-quantisation"),
    )
)


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A model whose functions are written out and whose types are inferred, or why that cannot be done.

    Attributes:
        graph: Its graph.
        sites: Its nodes.
        wiring: What is wrong with its names.
        problem: Why it cannot be done, or "".
        at: Size of all free axes -> the nodes with what is known then; None where no axis is free.
    """

    graph: onnx.GraphProto
    sites: tuple[Site, ...] = ()
    wiring: tuple[Finding, ...] = ()
    problem: str = ""
    at: SitesAt | None = None


@checked_arguments
def lint_file(
    path: Path | str, targets: Sequence[LintTarget] = TARGETS, capabilities: Sequence[str] = ()
) -> dict[LintTarget, Findings]:
    """Check an ONNX file.

    Args:
        path: An ONNX file.
        targets: The targets to check for.
        capabilities: Compute capabilities of GPUs that the graph must also run on: 8.6, 86 and sm_86 are the same.

    Returns:
        Target -> findings, errors first. Of very many the first ones are kept; they count all.

    Raises:
        InputError: The file cannot be read, is not an ONNX model, or takes more memory or time than a check may; no
            target is given, or what is no compute capability.
    """
    path = Path(path)
    if not targets:
        raise InputError("no target is given to check for", f"Choose from: {', '.join(TARGETS)}.")
    capabilities = _written_alike(capabilities)
    if path.is_file() and path.stat().st_size > load_table(targets[0]).limits.file_bytes:
        return {target: Findings([_file_size(load_table(target))], errors=1, warnings=0) for target in targets}
    check_size(path)
    return ask_lint(path, path.parent, targets, capabilities, str(path))


@checked_arguments
def lint_model(model: onnx.ModelProto, target: LintTarget, folder: Path, capabilities: Sequence[str] = ()) -> Findings:
    """Check a model for one target.

    Args:
        model: A model of any exporter.
        target: Whose rules to apply.
        folder: The folder of the model's external data.
        capabilities: Compute capabilities of GPUs that the graph must also run on: 8.6, 86 and sm_86 are the same.

    Returns:
        The findings, errors first. Of very many the first ones are kept; they count all.

    Raises:
        InputError: The model takes more memory or time than a check may, or one is no compute capability.
    """
    capabilities = _written_alike(capabilities)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        check_size(path)
        return ask_lint(path, folder, (target,), capabilities, "the model")[target]


def _written_alike(capabilities: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(compute_capability, capabilities)))


def findings_of(
    path: Path, folder: Path, targets: Sequence[LintTarget], capabilities: Sequence[str], shown: str
) -> dict[LintTarget, tuple[Finding, ...]]:
    """Check an ONNX file in this process, whatever that takes.

    Args:
        path: An ONNX file.
        folder: The folder of its external data.
        targets: The targets to check for.
        capabilities: Compute capabilities of GPUs that the graph must also run on.
        shown: What messages call the file.

    Returns:
        Target -> findings, errors first.

    Raises:
        InputError: The file cannot be read or is not an ONNX model.
    """
    model = load_graph(path, "Give the path of an .onnx file.", shown)
    prepared = _prepare(model)
    return {target: _lint(model, prepared, load_table(target), folder, capabilities) for target in targets}


def _lint(
    model: onnx.ModelProto, prepared: _Prepared, table: Table, folder: Path, capabilities: Sequence[str]
) -> tuple[Finding, ...]:
    if prepared.problem:
        return (_about_file("error", "functions", prepared.problem, "Write the functions out"),)
    findings = [*_versions(model, table), *_edges(model.graph, table)]
    for graph in (model.graph, *(body for _, body in bodies(prepared.sites))):
        findings += weight_findings(graph, table, folder)
    findings += prepared.wiring
    of_nodes = [
        finding
        for site in prepared.sites
        for finding in (*constant_findings(site, table, folder), *node_findings(site, table))
    ]
    findings += of_nodes
    if prepared.at is not None:
        known = {finding.node for finding in of_nodes if finding.severity == "error" or finding.rule == "frozen"}
        findings += frozen_findings(prepared.at, known, table)
    findings += generation_findings(prepared.sites, table, capabilities)
    findings += _node_count(len(prepared.sites), table)
    return tuple(sorted(findings, key=lambda finding: finding.severity))  # stable: in the order of the graph


def _prepare(model: onnx.ModelProto) -> _Prepared:
    small = without_large_weights(model)
    problem = ""
    if small.functions:
        small, problem = _written_out(small)
    if problem:
        return _Prepared(small.graph, problem=problem)
    inferred = with_inferred_types(small)
    at = functools.cache(functools.partial(sites_at, small)) if has_free_axes(small.graph) else None
    nodes = tuple(sites(inferred))
    return _Prepared(inferred.graph, nodes, tuple(wiring_findings(inferred.graph, nodes)), at=at)


def _written_out(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """The model without model-local functions, or why that cannot be done."""
    import onnx.inliner

    limit = load_table(TARGETS[0]).limits.function_nodes
    size = function_size(model, limit)
    if size is None:
        return model, (
            f"a model-local function calls itself, or calls are more than {MAX_DEPTH} deep, which crashes the parser"
        )
    if size > limit:
        return model, f"model-local functions stand for more than {limit:,} nodes"
    try:
        return onnx.inliner.inline_local_functions(model), ""
    except Exception as error:  # it has no exceptions of its own
        return model, f"model-local functions cannot be written out: {' '.join(str(error).split())[:200]}"


def _about_file(severity: Severity, rule: str, what: str, fix: str) -> Finding:
    return Finding(severity, rule, "", "", what, fix)


def _file_size(table: Table) -> Finding:
    what = f"the file is over the {table.limits.file_bytes + 1:,} bytes that protobuf, and so every parser, can read"
    return _about_file("error", "file-size", what, "Save the weights as external data")


def _versions(model: onnx.ModelProto, table: Table) -> Iterator[Finding]:
    """Versions outside the documented ones: the parsers go on, with the operators as they know them."""
    lowest, highest = table.opsets
    for opset in model.opset_import:
        if opset.domain in STANDARD_DOMAINS and not lowest <= opset.version <= highest:
            what = f"opset {opset.version} is outside {lowest} to {highest}, which is what is documented"
            yield _about_file("warning", "opset", what, f"Export it with opset {min(highest, 20)}")
    if model.ir_version > table.ir_version:
        what = f"IR version {model.ir_version} is above {table.ir_version}, that of the ONNX it is built with"
        yield _about_file("warning", "ir-version", what, f"Save it with ir_version={table.ir_version}")


def _edges(graph: onnx.GraphProto, table: Table) -> Iterator[Finding]:
    """Inputs and outputs of the network."""
    inputs = {value.name for value in graph.input} - {tensor.name for tensor in graph.initializer}
    free: list[str] = []
    for value in (*graph.input, *graph.output):
        if value.type.WhichOneof("value") is None:
            what = f"{value.name!r} has no type, and the parser does not look for it elsewhere"
            yield _about_file("error", "type", what, "Write the types of inputs and outputs into the graph")
            continue
        if not value.type.HasField("tensor_type"):
            what = f"{value.name!r} is no dense tensor"
            yield _about_file("error", "type", what, "Give the network tensors only")
            continue
        kind, shape = type_name(value.type.tensor_type.elem_type), shape_of(value.type)
        if kind == "DOUBLE" and value.name in inputs:
            what = f"{value.name!r} is float64, which TensorRT computes in float32"
            yield _about_file("error", "float64", what, "Use float32")
        elif kind not in table.types:
            yield _about_file("error", "type", f"{value.name!r} is {kind}, a type that is not there", "Cast it")
        if len(shape) > table.limits.rank:
            what = f"{value.name!r} has {len(shape)} axes, and a tensor has at most {table.limits.rank}"
            yield _about_file("error", "rank", what, "Join axes")
        if value.name in inputs:
            free += [f"{value.name!r} axis {axis}" for axis, size in enumerate(shape) if size < 0]
    if free:
        what = f"{len(free)} free axes of the inputs: {', '.join(free[:4])}{', ...' if len(free) > 4 else ''}"
        yield _about_file("warning", "free-axis", what, "Give smallest, usual and largest sizes when building")


def _node_count(count: int, table: Table) -> Iterator[Finding]:
    limits = table.limits
    if count > limits.nodes:
        seconds = (count / limits.nodes_in_one_second) ** 1.5
        what = f"{count:,} nodes: compiling may take {seconds:,.0f} s and, for gated cells, several times that"
        yield _about_file("warning", "nodes", what, "Unroll fewer steps, or use one operator for each layer")
