"""The lint rules for GPU generations that lack what the others have: Turing, compute capability 7.5.

Sources: NVIDIA's support matrix for bfloat16; for float32 products what the compiler of TensorRT-RTX 1.7.1 says
("Cannot compile operation for Turing (SM75): FP32 GEMM is not supported"), which tests/export/lint/test_gpu_rules.py
repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from drnn_export.lint.graph_view import Site
from drnn_export.lint.tables import Finding, LintTarget

_TURING = "7.5"
_PRODUCTS = ("Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN")


def generation_findings(sites: Iterable[Site], target: LintTarget, capabilities: Sequence[str]) -> Iterator[Finding]:
    """One finding for each thing that a GPU of `capabilities` (for example "7.5") does not take, at its first node."""
    if _TURING not in capabilities:
        return
    narrow = [site for site in sites if "BFLOAT16" in _types(site)]
    if narrow:
        what = f"computes in bfloat16, as {_nodes(narrow)}, which compute capability {_TURING} does not have"
        yield narrow[0].error("compute-capability", what, "Use float16")
    products = [site for site in sites if site.node.op_type in _PRODUCTS and "FLOAT" in _types(site)]
    if products and target == "tensorrt-rtx":
        what = (
            f"is a product in float32, as {_nodes(products)}, which TensorRT-RTX does not compile for compute "
            f"capability {_TURING}"
        )
        yield products[0].error("compute-capability", what, "Use float16, or the full TensorRT")


def _types(site: Site) -> set[str]:
    kinds = {site.scope.type_of(name) for name in site.node.input if name}
    return {kind for kind in kinds if kind is not None} | set(site.output_types())


def _nodes(found: Sequence[Site]) -> str:
    return "the only node" if len(found) == 1 else f"do {len(found):,} nodes in all"
