"""The lint rules for GPU generations: those that a target does not build for, and Turing (7.5), which lacks types.

Sources for Turing: NVIDIA's support matrix for bfloat16; for float32 products what the compiler of TensorRT-RTX 1.7.1
says ("Cannot compile operation for Turing (SM75): FP32 GEMM is not supported"), which
tests/export/lint/test_gpu_rules.py repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from drnn_export.lint.graph_view import Site
from drnn_export.lint.tables import Finding, Generations, Table

_TURING = "7.5"
_PRODUCTS = ("Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN")


def generation_findings(sites: Iterable[Site], table: Table, capabilities: Sequence[str]) -> Iterator[Finding]:
    """What the GPUs of some generation lack.

    Args:
        sites: The nodes of a graph.
        table: What the target that the graph is for takes.
        capabilities: Compute capabilities that the graph must also run on, for example "7.5".

    Yields:
        One finding for each GPU that there is no engine for, and for each thing that a GPU lacks, at the first node
        that needs it.
    """
    for capability in capabilities:
        if not builds_for(table.generations, capability):
            what = f"{table.title} builds for {_shown(table.generations)}, not for compute capability {capability}"
            yield Finding("error", "generation", "", "", what, "Choose another target, or a GPU that it builds for")
    if _TURING not in capabilities:
        return
    narrow = [site for site in sites if "BFLOAT16" in _types(site)]
    if narrow:
        what = f"computes in bfloat16, as {_nodes(narrow)}, which compute capability {_TURING} does not have"
        yield narrow[0].error("compute-capability", what, "Use float16")
    products = [site for site in sites if site.node.op_type in _PRODUCTS and "FLOAT" in _types(site)]
    if products and table.target == "tensorrt-rtx":
        what = (
            f"is a product in float32, as {_nodes(products)}, which TensorRT-RTX does not compile for compute "
            f"capability {_TURING}"
        )
        yield products[0].error("compute-capability", what, "Use float16, or the full TensorRT")


def builds_for(known: Generations, capability: str) -> bool:
    """Whether a target builds engines for the GPUs of a compute capability.

    Args:
        known: The generations of the target.
        capability: For example "8.7".
    """
    if known.only:
        return capability in known.only
    return _number(known.oldest) <= _number(capability) <= _number(known.newest or capability)


def _number(capability: str) -> tuple[int, ...]:
    return tuple(map(int, capability.split(".")))


def _shown(known: Generations) -> str:
    return ", ".join(known.only) or f"{known.oldest} {f'to {known.newest}' if known.newest else 'and later'}"


def _types(site: Site) -> set[str]:
    kinds = {site.scope.type_of(name) for name in site.node.input if name}
    return {kind for kind in kinds if kind is not None} | set(site.output_types())


def _nodes(sites: Sequence[Site]) -> str:
    return "the only node" if len(sites) == 1 else f"do {len(sites):,} nodes in all"
