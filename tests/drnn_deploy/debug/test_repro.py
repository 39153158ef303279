"""A failure as a small file: it still fails, says the same, and is refused where it is not what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy import ExportOptions, export
from drnn_deploy.debug.repro import Reproduction, minimize
from drnn_deploy.parity.check import check_parity
from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.inference import answered_case
from drnn_deploy.parity.tolerance import Tolerance
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, GoldenCase
from drnn_runtimes.reference.loop import run_reference
from drnn_runtimes.registry import find_runtime
from tests.drnn_deploy.debug.mutants.mutant import Change, read, weights
from tests.drnn_deploy.debug.test_explain import changed
from tests.networks import random_weights

SPEC = ModelSpec("gru", (3, 4), (1, 4), Continuous(2), Head("sequence", 2))
HERE = find_runtime("onnxruntime-cpu")
Make = Callable[..., tuple[Bundle, Bundle]]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """A right bundle and one with a mistake."""

    def make(change: Change, **options: Any) -> tuple[Bundle, Bundle]:
        settings = {
            "engines": (),
            "runtimes": ("onnxruntime-cpu",),
            "ring": False if "forms" in options else None,
            **options,
        }
        chosen = ExportOptions(**settings, length=None if "forms" in options else 12)
        bundle = export(Checkpoint(SPEC, random_weights(SPEC, 1)), tmp_path / "right", chosen).bundle
        return bundle, changed(bundle, tmp_path / "bad", "model.onnx", change)

    return make


def failing(bundle: Bundle) -> GoldenCase:
    (row,) = check_parity(bundle, [HERE]).rows
    failed = {case.case: case.in_noise or np.inf for case in row.cases if not case.passed}
    return max((case for case in bundle.golden if case.name in failed), key=lambda case: failed[case.name])


def found(bundle: Bundle, size: int | None = None) -> Reproduction:
    reproduction = minimize(HERE, bundle, bundle.graphs[0], failing(bundle), size, Tolerance())
    assert reproduction is not None
    return reproduction


def test_one_sequence_is_enough_and_says_what_parity_said(made: Make, tmp_path: Path) -> None:
    right, bad = made(weights("l0/operator/W", lambda w: -w), batch=2)
    found(bad).save(tmp_path / "deep" / "r.npz")
    loaded = Reproduction.load(tmp_path / "deep" / "r.npz")
    assert loaded.case.inputs.shape == (1, 12, 2)
    expected = run_reference(SPEC, bad.weights, loaded.case.inputs).outputs
    np.testing.assert_allclose(loaded.case.outputs, expected, rtol=0, atol=1e-12)
    again = loaded.run(bad)
    assert not again.passed
    assert again.limit == loaded.limit == 8.0 * loaded.case.largest_noise
    assert judge(loaded.case, loaded.observed).absolute == again.absolute
    assert loaded.run(right).passed
    assert loaded.run(bad, find_runtime("torch")).passed  # which runs the weights


def test_stream_ends_with_the_chunk_that_is_off_first(made: Make, tmp_path: Path) -> None:
    """The second layer's state is lost: its first output that is off is that of step 4, in the third chunk of two."""
    lost = read("l1/line_h", 1, "l1/lost")

    def change(model: onnx.ModelProto) -> None:
        lost(model)
        place = next(i for i, node in enumerate(model.graph.node) if node.name == "l1/line_h")
        node = onnx.helper.make_node("Sub", ["l1/new_h", "l1/new_h"], ["l1/lost"], "l1/lost")
        model.graph.node.insert(place, node)

    _, bad = made(change, forms=("chunk",), chunk=2)
    small = found(bad)
    assert small.case.inputs.shape == (1, 6, 2)
    assert small.case.outputs.shape == (1, 6, 2)
    whole = answered_case(bad, bad.graphs[0], failing(bad))
    assert whole.inputs.shape[1] > 6
    small.save(tmp_path / "r.npz")
    assert Reproduction.load(tmp_path / "r.npz").run(bad).first_bad_step == 4


def test_a_batch_that_is_mixed_up_keeps_its_sequences(made: Make) -> None:
    """One sequence beside itself is right where rows of a batch change places."""

    def change(model: onnx.ModelProto) -> None:
        rows = onnx.numpy_helper.from_array(np.array([1, 0]), "rows")
        model.graph.initializer.append(rows)
        node = next(node for node in model.graph.node if node.output[0] == "output")
        node.output[0] = "straight"
        model.graph.node.append(onnx.helper.make_node("Gather", ["straight", "rows"], ["output"], "crossed", axis=0))

    _, bad = made(change, batch=2)
    assert len(found(bad).case.inputs) == len(failing(bad).inputs) == 4


def test_size_of_a_dynamic_batch_is_kept(made: Make, tmp_path: Path) -> None:
    _, bad = made(weights("l0/operator/W", lambda w: -w), batch=None, profile=(1, 2, 3))
    found(bad, 3).save(tmp_path / "r.npz")
    loaded = Reproduction.load(tmp_path / "r.npz")
    assert (loaded.size, loaded.run(bad).passed) == (3, False)


def test_what_passes_is_not_reproduced(made: Make) -> None:
    right, _ = made(lambda _: None)
    assert all(minimize(HERE, right, right.graphs[0], case, None, Tolerance()) is None for case in right.golden)


def test_another_network_is_refused(made: Make, tmp_path: Path) -> None:
    _, bad = made(weights("l0/operator/W", lambda w: -w))
    other = export(
        Checkpoint(SPEC, random_weights(SPEC, 2)), tmp_path / "other", ExportOptions(length=12, engines=())
    ).bundle
    with pytest.raises(InputError, match="not of the network"):
        found(bad).run(other)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / "r.npz"
    case = GoldenCase("normal", np.zeros((1, 3, 2), np.float32), np.ones((1, 2)), 1e-7)
    Reproduction(
        "m", "onnxruntime-cpu", "sequence/fused", None, Tolerance(), case, np.zeros((1, 2), np.float32), 8e-7
    ).save(path)
    return path


def test_what_is_written_is_read(file: Path) -> None:
    loaded = Reproduction.load(file)
    assert (loaded.model, loaded.graph, loaded.size, loaded.limit) == ("m", "sequence/fused", None, 8e-7)
    assert loaded.case.inputs.dtype == np.float32
    assert loaded.case.outputs.dtype == np.float64


@pytest.mark.parametrize("changes", [
    {"format": "drnn-deploy-stream/1"},
    {"noise": float("nan")},
    {"noise": -1.0},
    {"limit": float("inf")},
    {"size": 0},
    {"narrow_noise": []},
    {"narrow_noise": {"fp16": -1}},
    {"expected": np.full((1, 2), np.nan)},
    {"expected": np.ones((2, 2))},
    {"expected": np.ones((1, 2), np.float32)},
    {"inputs": np.zeros(3)},
    {"inputs": np.array([object()])},
    {"about": np.array("{")},
])  # fmt: skip
def test_file_that_says_what_cannot_be_is_refused(file: Path, changes: dict[str, Any], tmp_path: Path) -> None:
    with np.load(file) as arrays:
        held = dict(arrays)
    about = json.loads(str(held["about"])) | {k: v for k, v in changes.items() if not isinstance(v, np.ndarray)}
    held["about"] = np.array(json.dumps(about))
    held |= {name: value for name, value in changes.items() if isinstance(value, np.ndarray)}
    np.savez(tmp_path / "bad.npz", **held)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be read as a reproduction"):
        Reproduction.load(tmp_path / "bad.npz")


@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_file_is_refused_or_reads_as_it_was(file: Path, data: st.DataObject, tmp_path: Path) -> None:
    content = bytearray(file.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place : place + data.draw(st.integers(1, 9))] = data.draw(st.binary(max_size=9))
    (tmp_path / "bad.npz").write_bytes(content)
    try:
        loaded = Reproduction.load(tmp_path / "bad.npz")
    except InputError as error:
        assert "cannot be read as a reproduction" in error.message
    else:
        assert loaded.limit == 8e-7


def test_missing_file_is_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.npz cannot be read"):
        Reproduction.load(tmp_path / "none.npz")
