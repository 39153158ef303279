"""NVIDIA's own parser and compiler on what is exported: no double, and no GPU needed."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from drnn_core import worker_process
from drnn_core.types import Emission, Precision
from drnn_deploy.planner.candidates import with_block
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.engine import process
from drnn_export.engine.build import build_engine
from drnn_models.cells import Cell
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.trt.sidecar import Sidecar
from tests.networks import random_weights
from tests.nightly import NIGHTLY, combinations

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
pytestmark = pytest.mark.usefixtures("one_builder")

CELLS = get_args(Cell)
CHUNK = 32 if NIGHTLY else 8  # steps, of which each is a part of the graph
PAPER = (20,) * 9, tuple(2**i for i in range(9))
WHOLE = {
    "pixel MNIST, 784 steps, fused": GraphRequest(784),
    "pixel MNIST, 784 steps, fused, dynamic batch": GraphRequest(784, batch=None),
    "pixel MNIST, 16 steps, unrolled": GraphRequest(16, emission="unrolled"),
}
TYPED: tuple[tuple[Emission, Precision], ...] = (
    *(("fused", "fp32"), ("fused", "fp16")),
    *(("unrolled", "fp32"), ("unrolled", "fp16"), ("unrolled", "bf16")),
)
NETWORKS = {
    "one-hot tokens, last_k": ((6, 5), (1, 2), Tokens(5), Head("last_k", 3, 3)),
    "embedded tokens, fusion, sequence": ((6, 5), (3, 5), Tokens(5, 3), Head("sequence", 3)),
    "uneven dilations, fusion, last": ((4, 4, 4), (2, 3, 3), Continuous(2), Head("last", 3)),
}


def short(emission: Emission) -> GraphRequest:
    """Two sequences, of 17 steps or, skewed, of one; in blocks of up to four."""
    if emission == "skewed":
        return GraphRequest(1, 2, emission, form="step")
    return GraphRequest(17, 2, emission, block=4 if emission == "blocked" else None)


def compiled(folder: Path, spec: ModelSpec, request: GraphRequest) -> Sidecar:
    graph = folder / "model.onnx"
    graph.write_bytes(emit(spec, random_weights(spec, 0), request).SerializeToString())
    batch = (1, 2, 4) if request.batch is None else None
    return build_engine(graph, folder / "model.engine", "tensorrt-rtx", compute_capabilities=("8.6",), batch=batch)


@pytest.mark.parametrize(("cell", "what"), combinations(CELLS, list(WHOLE), by_day=4))
def test_paper_network_compiles(
    tmp_path: Path, cell: Cell, what: str, record_property: Callable[[str, object], None]
) -> None:
    request_ = WHOLE[what]
    sidecar = compiled(tmp_path, ModelSpec(cell, *PAPER, Continuous(1), Head("last", 10)), request_)
    record_property(
        f"TensorRT-RTX, SM86, {cell}, {what}", f"{sidecar.build_seconds:.1f} s, {sidecar.engine_bytes:,} bytes"
    )
    batch = -1 if request_.batch is None else 1
    assert [(tensor.name, tensor.shape) for tensor in sidecar.inputs] == [("input", (batch, request_.steps, 1))]
    assert [(tensor.name, tensor.shape) for tensor in sidecar.outputs] == [("output", (batch, 10))]
    assert (tmp_path / "model.engine").stat().st_size == sidecar.engine_bytes


@pytest.mark.parametrize(
    ("network", "cell", "steps", "ring"),
    combinations(["pixel MNIST", "waveform, 10 x 32, dilations 2 to 1024"], CELLS, (1, CHUNK), (False, True), by_day=7),
)
def test_unrolled_chunks_compile(
    tmp_path: Path, network: str, cell: Cell, steps: int, ring: bool, record_property: Callable[[str, object], None]
) -> None:
    sizes = PAPER if network == "pixel MNIST" else ((32,) * 10, tuple(2**i for i in range(1, 11)))
    spec = ModelSpec(cell, *sizes, Continuous(1), Head("last", 10))
    sidecar = compiled(tmp_path, spec, GraphRequest(steps, 1, "unrolled", form="chunk", ring=ring))
    what = f"{cell}, {network}, chunk of {steps}, {'rings' if ring else 'lines'}"
    seconds, size = sidecar.build_seconds, sidecar.engine_bytes
    record_property(f"TensorRT-RTX, SM86, {what}", f"{seconds:.1f} s, {size:,} bytes")
    states = {f"state_{name}" for name in spec.state_shapes(1)}
    assert {tensor.name for tensor in sidecar.inputs} == {"input", *states}
    assert {tensor.name for tensor in sidecar.outputs} == {"output", *(f"next_{state}" for state in states)}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.nightly
def test_blocks_of_every_precision_compile(tmp_path: Path, cell: Cell, precision: Precision, batch: int) -> None:
    if (cell, precision) == ("gru", "int8"):
        pytest.skip("the compiler takes no GRU with int8 weights, see docs/engines.md")
    hidden = (
        (9, 8, 10) if batch == 1 else (6, 5, 4)
    )  # of fewer units and one row the compiler may not end: see the lint
    spec = ModelSpec(cell, hidden, (1, 2, 3), Continuous(2), Head("sequence", 3))
    sidecar = compiled(tmp_path, spec, GraphRequest(31, batch, "blocked", precision=precision, block=5))
    assert sidecar.loops == 3


def test_a_whole_blocked_sequence_compiles_with_its_loops(tmp_path: Path) -> None:
    spec = ModelSpec("lstm", (20,) * 4, (1, 2, 4, 8), Continuous(1), Head("last", 10))
    request = GraphRequest(200, 1, "blocked", block=4)
    sidecar = compiled(tmp_path, spec, request)
    assert sidecar.loops == spec.layers
    assert 0 < (sidecar.kernels or 0) < sum(layer.cells for layer in request.plan(spec).layers) / 4


@pytest.mark.nightly
@pytest.mark.parametrize("cell", CELLS)
def test_blocked_paper_network_compiles_in_seconds(
    tmp_path: Path, cell: Cell, record_property: Callable[[str, object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the processor, which other work on the machine changes little."""
    monkeypatch.setattr(process, "ask", worker_process.ask)  # a process of its own, which has ended when it is counted
    spec = ModelSpec(cell, *PAPER, Continuous(1), Head("last", 10))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    sidecar = compiled(tmp_path, spec, with_block(spec, GraphRequest(784, 1, "blocked")))
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    record_property(f"TensorRT-RTX, SM86, {cell}, blocked", f"{seconds:.1f} s, {sidecar.engine_bytes:,} bytes")
    assert sidecar.loops
    assert 0 < seconds < 10


@pytest.mark.parametrize("emission", get_args(Emission))
def test_gru_that_resets_before_the_product_compiles(tmp_path: Path, emission: Emission) -> None:
    spec = ModelSpec("gru", (6, 5), (1, 2), Continuous(2), Head("last", 3), reset="before")
    assert compiled(tmp_path, spec, short(emission)).engine_bytes > 0


@pytest.mark.parametrize(
    ("cell", "network", "emission"), combinations(CELLS, list(NETWORKS), get_args(Emission), by_day=7)
)
def test_every_input_and_head_compiles(tmp_path: Path, cell: Cell, network: str, emission: Emission) -> None:
    hidden, dilations, inputs, head = NETWORKS[network]
    spec = ModelSpec(cell, hidden, dilations, inputs, head)
    assert compiled(tmp_path, spec, short(emission)).engine_bytes > 0


@pytest.mark.parametrize(("cell", "typed"), combinations(CELLS, TYPED, by_day=3))
def test_chunks_of_every_precision_compile_for_three_generations(
    tmp_path: Path, cell: Cell, typed: tuple[Emission, Precision], record_property: Callable[[str, object], None]
) -> None:
    emission, precision = typed
    spec = ModelSpec(cell, *PAPER, Continuous(1), Head("last", 10))
    graph = tmp_path / "model.onnx"
    request = GraphRequest(CHUNK, 1, emission, form="chunk", precision=precision)
    graph.write_bytes(emit(spec, random_weights(spec, 0), request).SerializeToString())
    capabilities = ("8.6", "8.9", "12.0")
    sidecar = build_engine(graph, tmp_path / "model.engine", "tensorrt-rtx", compute_capabilities=capabilities)
    what = f"{cell}, pixel MNIST, chunk of {CHUNK}, {emission}, {precision}, SM86 SM89 SM120"
    seconds, size = sidecar.build_seconds, sidecar.engine_bytes
    record_property(f"TensorRT-RTX, {what}", f"{seconds:.1f} s, {size:,} bytes, {sidecar.kernels} kernels")
    assert sidecar.compute_capabilities == capabilities
    assert sidecar.kernels


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_int8_weights_compile(tmp_path: Path, cell: Cell) -> None:
    """Those of a GRU do not: the compiler of TensorRT-RTX 1.7 fails on them."""
    spec = ModelSpec(cell, *PAPER, Continuous(1), Head("last", 10))
    assert compiled(tmp_path, spec, GraphRequest(16, 1, "unrolled", form="chunk", precision="int8")).kernels
