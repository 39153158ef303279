from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from drnn_core.errors import EngineError
from drnn_core.types import Precision
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.engine.build import build_engine
from drnn_export.engine.kernels import Kernels, read_kernels
from drnn_models.cells import Cell
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.trt.sidecar import Sidecar
from tests.networks import random_inputs, random_weights
from tests.nightly import combinations

pytestmark = pytest.mark.usefixtures("one_builder")
REPOSITORY = Path(__file__).parents[3]
LOG = """Layers:
Name: a, LayerType: memset, Inputs: [], Outputs: [ { Name: x, Datatype: Int64, Format: y }], TacticName: , Metadata:
Name: b, LayerType: kgen, Inputs: [ { Datatype: Float }], Constants: [ { Name: y, Datatype: Half }], Outputs: []
Name: c, LayerType: cjmp, Inputs: []
Name: d, LayerType: gemm, Inputs: [ { Name: x, Datatype: Float }]
"""


def built(folder: Path, cell: Cell, steps: int, precision: Precision, *, said: str = "") -> Sidecar:
    """An unrolled layer of twenty units, for one compute capability."""
    spec = ModelSpec(cell, (20,), (1,), Continuous(1), Head("last", 10))
    model = emit(spec, random_weights(spec, 0), GraphRequest(steps, 1, "unrolled", form="chunk", precision=precision))
    for entry in model.metadata_props:
        if said and entry.key == "drnn.precision":
            entry.value = said
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return build_engine(folder / "model.onnx", folder / "model.engine", "tensorrt-rtx", compute_capabilities=("8.6",))


def test_log_is_read() -> None:
    assert read_kernels(["no layers", LOG]) == Kernels(2, 1, ("Float", "Half", "Int64"))
    assert read_kernels([]) is None
    assert read_kernels(["Layers:\n"]) is None


@pytest.mark.parametrize(
    ("types", "precision", "message"),
    [
        (("Float", "Half"), "fp32", "hold Half, which fp32 has not"),
        (("Float",), "fp16", "none of its kernels holds Half"),
        (("BFloat16", "Float"), "fp16", "hold BFloat16"),
        (("Float", "Half"), "fp16", ""),
        (("Float", "Int8"), "int8", ""),
        (("Float", "Int64"), "fp32", ""),
    ],
)
def test_other_types_than_asked_for_are_a_mismatch(types: tuple[str, ...], precision: Precision, message: str) -> None:
    found = Kernels(3, 0, types).mismatch(precision)
    assert message in found
    assert bool(message) == bool(found)


@pytest.mark.parametrize(
    ("precision", "cell"), combinations(["fp32", "fp16", "bf16"], ["rnn", "gru", "lstm"], by_day=2)
)
def test_recurrent_step_is_one_kernel(cell: Cell, precision: Precision, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
    short, long = (built(tmp_path, cell, steps, precision).kernels or 0 for steps in (8, 16))
    assert short > 8
    assert long - short == 8


def test_engine_of_another_precision_than_asked_for_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'drnn-deploy[rtx]'")
    with pytest.raises(EngineError, match="another precision than fp16: none of its kernels holds Half"):
        built(tmp_path, "rnn", 4, "fp32", said="fp16")
    assert not (tmp_path / "model.engine").exists()


def test_no_other_way_of_writing_a_step_has_fewer_kernels_or_a_clearly_shorter_build() -> None:
    """As measured; docs/step-forms.md is what the measurement says."""
    from benchmarks.step_forms import FORMS, page

    result = json.loads((REPOSITORY / "benchmarks" / "results" / "step-forms.json").read_text(encoding="utf-8"))
    assert (REPOSITORY / "docs" / "step-forms.md").read_text(encoding="utf-8") == page(result)
    for cell, forms in FORMS.items():
        rows = {row["form"]: row for row in result["rows"] if row["cell"] == cell}
        assert list(rows) == list(forms)
        emitted = next(iter(rows.values()))
        assert all(emitted["kernels"] <= row["kernels"] for row in rows.values())
        assert all(emitted["seconds"][0] <= row["seconds"][1] for row in rows.values())


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_other_ways_of_writing_a_step_compute_the_same(cell: Cell, tmp_path: Path) -> None:
    """Or comparing their kernels would mean nothing."""
    import onnxruntime

    from benchmarks.step_forms import FORMS, written

    spec = ModelSpec(cell, (5,), (1,), Continuous(2), Head("last", 3))
    inputs = {"input": random_inputs(spec, 2, 6, 1)}
    found = []
    for patch in FORMS[cell].values():
        with written(patch):
            model = emit(spec, random_weights(spec, 0), GraphRequest(6, 2, "unrolled"))
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        found.append(session.run(["output"], inputs)[0])
    for outputs in found[1:]:
        np.testing.assert_allclose(outputs, found[0], rtol=0, atol=1e-5)
