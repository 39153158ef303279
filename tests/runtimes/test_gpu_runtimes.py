"""The runtimes that need nothing but CUDA, on a GPU: against float64, with carried state, without TF32."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.exporter.pipeline import export
from drnn_deploy.parity.check import check_parity
from drnn_export.emitter.request import Emission
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.spec import Cell, Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import find_runtime
from tests.gpu import need
from tests.networks import make_case

pytestmark = pytest.mark.gpu
RUNTIMES = pytest.mark.parametrize("runtime", ["torch-cuda", "onnxruntime-cuda", "cuda-kernel"])
CELLS = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
LENGTH = 60


def exported(cell: Cell, emission: Emission, folder: Path) -> Bundle:
    """Layers of 128 units, whose products TF32 would round, in all forms and precisions that the emission has."""
    spec = ModelSpec(cell, (128, 128), (1, 3), Continuous(8), Head("last_k", 5, 4))
    options = ExportOptions(
        forms=("sequence", "chunk", "step"),
        chunk=7,
        emissions=(emission,),
        precisions=("fp32", "fp16", "int8", *(("bf16",) if emission == "unrolled" else ())),
        engines=(),
        runtimes=(),
    )
    checkpoint = dataclasses.replace(make_case(spec, 1, LENGTH).checkpoint(), task={"length": LENGTH})
    return export(checkpoint, folder / "bundle", options).bundle


@RUNTIMES
@CELLS
@pytest.mark.parametrize("emission", ["fused", "unrolled"])
def test_every_graph_on_a_gpu_is_within_its_noise(runtime: str, cell: Cell, emission: Emission, tmp_path: Path) -> None:
    need(runtime)
    report = check_parity(exported(cell, emission, tmp_path), [find_runtime(runtime)], required=True)
    assert [(row.graph, row.precision, row.error or row.worst) for row in report.rows if not row.passed] == []
    assert {row.graph.partition("/")[0] for row in report.rows} == {"sequence", "chunk7", "step"}


@RUNTIMES
def test_a_stream_on_a_gpu_gives_what_the_whole_sequence_gives(runtime: str, tmp_path: Path) -> None:
    need(runtime)
    spec = ModelSpec("gru", (16, 16), (1, 4), Continuous(3), Head("sequence", 5))
    case = make_case(spec, 1, 32)
    options = ExportOptions(length=32, forms=("sequence", "chunk"), chunk=8, engines=(), runtimes=())
    bundle = export(case.checkpoint(), tmp_path / "bundle", options).bundle
    with find_runtime(runtime).stream(bundle, "chunk") as stream:
        pieces = [stream.push(case.inputs[:, start : start + 11]) for start in range(0, 32, 11)]  # type: ignore[arg-type]
        outputs = np.concatenate([*pieces, stream.finish()], axis=1)
    case.assert_within_noise(outputs)


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec("rnn", (10,) * 9, tuple(2**i for i in range(9)), Tokens(10), Head("last_k", 8, 10)),  # copy memory's
        ModelSpec("lstm", (32,) * 3, (8, 16, 32), Continuous(1), Head("last", 5)),
    ],
    ids=["uneven selection of tokens", "lstm"],
)
def test_a_network_is_recorded_as_a_cuda_graph(spec: ModelSpec) -> None:
    need("torch-cuda")
    model = DilatedRNN(spec).eval().to("cuda")
    cases = [torch.from_numpy(make_case(spec, 2, 520, seed).inputs).to("cuda") for seed in (1, 2)]
    fixed, side = cases[0].clone(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            model(fixed)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            recorded = model(fixed)
        for inputs in cases:
            fixed.copy_(inputs)
            graph.replay()
            torch.testing.assert_close(recorded, model(inputs), atol=1e-6, rtol=1e-5)
