"""Bundles whose graph is wrong and whose checksums are right: `drnn-parity` fails, by their numbers and by their files.

Each mirrors a case that passed once: rows beyond the golden sequences, a delay line longer than the golden stream,
golden data that calls anything noise, golden data that has nothing to read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from drnn_deploy import ExportOptions, export
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import GOLDEN, Bundle
from drnn_runtimes.bundle.golden import write_golden
from tests.drnn_deploy.debug.mutants.mutant import Change, behind, both, constant, weights
from tests.networks import random_weights
from tests.sealing import reseal

Command = Any  # see conftest
LSTM = ModelSpec("lstm", (12, 10, 8), (1, 2, 4), Continuous(2), Head("last", 5))
LONG = ModelSpec("gru", (4, 4), (1, 5000), Continuous(1), Head("sequence", 2))


@dataclasses.dataclass(frozen=True)
class Broken:
    """A right bundle's spec and options, what is changed in its files, and what the failed row says."""

    spec: ModelSpec
    options: dict[str, Any]
    says: str
    graph: Change
    golden: Callable[[list[Any]], list[Any]] | None = None


def mask(rows: int) -> np.ndarray[Any, Any]:
    return (np.arange(rows) < 4).astype(np.float32)[:, None]


_made = helper.make_node
SHORT = {"length": 30}
BROKEN = {
    "static batch": Broken(
        LSTM,
        {**SHORT, "batch": 7},
        "in row 4 of a batch of 7",
        both(constant("mask", mask(7)), behind("output", _made("Mul", ["raw", "mask"], ["output"]))),
    ),
    "dynamic batch": Broken(
        LSTM,
        {**SHORT, "batch": None},
        "of an operator that no graph of a bundle has",  # nothing is known of the numbers: it does not even run
        both(
            constant("mask", mask(64)),
            constant("zero", np.array([0])),
            constant("one", np.array([1])),
            behind(
                "output",
                _made("Shape", ["raw"], ["shape"]),
                _made("Slice", ["shape", "zero", "one"], ["rows"]),
                _made("Slice", ["mask", "zero", "rows", "zero"], ["cut"]),
                _made("Mul", ["raw", "cut"], ["output"]),
            ),
        ),
    ),
    "long memory": Broken(
        LONG,
        {"forms": ("chunk",)},
        "in next_state_l1_h on seeded states inputs",
        both(
            constant("nothing", np.float32(0)),
            behind("next_state_l1_h", _made("Mul", ["raw", "nothing"], ["next_state_l1_h"])),
        ),
    ),
    "loud noise": Broken(
        LSTM,
        SHORT,
        "error 5.0e-01",
        weights("head/B", lambda bias: bias + np.float32([0.5, 0, 0, 0, 0])),
        lambda cases: [dataclasses.replace(case, noise=1e8 * np.asarray(case.noise)) for case in cases],
    ),
    "only zeros": Broken(
        LSTM,
        SHORT,
        "inputs from output step 0",
        weights("l0/operator/W", lambda values: 0 * values),
        lambda cases: [case for case in cases if case.name == "zeros"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_wrong_bundle_with_right_checksums_fails(name: str, command: Command, tmp_path: Path) -> None:
    broken, folder, report = BROKEN[name], tmp_path / "bundle", tmp_path / "report.json"
    network = Checkpoint(broken.spec, random_weights(broken.spec, 0))
    options = ExportOptions(engines=(), runtimes=("onnxruntime-cpu",), **broken.options)
    assert export(network, folder, options).exit_code == 0
    words = ("drnn-deploy", "parity", folder, "--runtime", "onnxruntime-cpu", "--json", report)
    assert command(*words).code == 0
    if broken.golden is not None:
        golden = broken.golden(list(Bundle.open(folder).golden))
        write_golden(folder / GOLDEN, broken.spec, (), golden)
    model = onnx.load(folder / "model.onnx")
    broken.graph(model)
    onnx.save(model, folder / "model.onnx")
    reseal(folder)

    ran = command(*words)
    assert ran.code == 1
    (entry,) = json.loads(report.read_text(encoding="utf-8"))["reports"]
    assert [row["passed"] for row in entry["rows"]] == [False]
    assert broken.says in ran.out
    failed = {file["file"] for file in entry["files"] if not file["passed"]}
    assert failed == {"model.onnx"} | ({GOLDEN} if broken.golden else set())


def test_believing_golden_data_is_said_in_every_report(command: Command, bundle: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"p.{kind}" for kind in ("json", "html", "md")]
    words = [*zip(("--json", "--html", "--markdown"), files, strict=True)]
    ran = command("drnn-deploy", "parity", bundle, "--golden", *(word for pair in words for word in pair))
    assert ran.code == 0
    for text in (ran.out, *(file.read_text(encoding="utf-8") for file in files)):
        assert "compared with the golden data that the bundle carries" in text
    assert "reference" not in {
        row["runtime"] for row in json.loads(files[0].read_text(encoding="utf-8"))["reports"][0]["rows"]
    }


def test_bundle_is_compared_with_the_checkpoint_that_it_is_said_to_be_from(
    command: Command, bundle: Path, model: Path, network: Checkpoint, tmp_path: Path
) -> None:
    quick = ("--runtime", "onnxruntime-cpu")
    assert command("drnn-deploy", "parity", bundle, "--against", model, *quick).code == 0
    other = tmp_path / "other.pt"
    bias = network.weights["head.bias"] + np.float32(1e-3)
    save_checkpoint(other, dataclasses.replace(network, weights={**network.weights, "head.bias": bias}))
    ran = command("drnn-deploy", "parity", bundle, "--against", other, *quick)
    assert ran.code == 1
    assert "FAILED weights.safetensors holds something else than it must: head.bias differs" in ran.out


@pytest.mark.parametrize("words", [("--golden",), ("--against", "{model}")])
def test_options_of_bundles_are_refused_for_a_checkpoint(words: tuple[str, ...], command: Command, model: Path) -> None:
    ran = command("drnn-deploy", "parity", model, *(word.format(model=model) for word in words))
    assert (ran.code, f"{words[0]} is for a bundle" in ran.err) == (2, True)


def test_second_check_takes_the_answers_of_the_first(
    command: Command, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drnn_deploy.parity import golden

    monkeypatch.setenv("DRNN_CACHE", str(tmp_path / "cache"))
    words = ("drnn-deploy", "parity", bundle, "--runtime", "onnxruntime-cpu")
    assert command(*words).code == 0
    kept = sorted((tmp_path / "cache" / "references").iterdir())
    assert len(kept) == len(Bundle.open(bundle).golden)
    monkeypatch.setattr(golden, "answers", lambda *_: pytest.fail("computed again"))
    assert command(*words).code == 0
    kept[0].write_bytes(b"PK")
    monkeypatch.undo()
    monkeypatch.setenv("DRNN_CACHE", str(tmp_path / "cache"))
    assert command(*words).code == 0
