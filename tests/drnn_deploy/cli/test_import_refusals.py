"""Files and words that `drnn-deploy import` refuses: one message with advice for each."""

from __future__ import annotations

import json
import pickle
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.bomb import Bomb
from tests.drnn_deploy.cli.foreign_files import ZALANDO, refused, saved, tensors
from tests.drnn_deploy.conftest import Command
from tests.models.interop.foreign_states import FIXTURES


@pytest.mark.parametrize("make, says", [
    (lambda path: path, "does not exist"),
    (lambda path: path.mkdir(), "is not a file"),
    (lambda path: path.write_bytes(b""), "is empty"),
    (lambda path: path.write_text("hello", encoding="utf-8"), "cannot be read as a torch checkpoint"),
    (lambda path: path.write_bytes(ZALANDO.read_bytes()[:3000]), "cannot be read as a torch checkpoint"),
    (lambda path: path.write_bytes((FIXTURES / "neuralforecast-gru.safetensors").read_bytes()[:-1]), "safetensors"),
    (lambda path: path.write_bytes(b"\x10" + b"\0" * 7 + b"{" * 40), "cannot be read as a safetensors file"),
    (lambda path: saved(path, [tensors()]), "holds no state dict but a list"),
    (lambda path: saved(path, torch.ones(2)), "holds no state dict but a Tensor"),
    (lambda path: saved(path, {}), "holds no state dict but a dict with none"),
    (lambda path: saved(path, {"net": tensors(), 7: 1}), "a dict with '7', 'net'"),
    (lambda path: saved(path, {"model": tensors(), "state_dict": tensors()}), "several state dicts: 'model', 'state_"),
    (lambda path: saved(path, {**tensors(), 7: torch.ones(1), "7": torch.ones(2)}), "7 is no name of a weight"),
    (lambda path: saved(path, {"state_dict": tensors() | {"scale": 2.0}}), "'scale' must be a dense tensor"),
    (lambda path: saved(path, {**tensors(), "linear.bias": torch.ones(1).expand(1 << 40)}), "is not stored whole"),
    (lambda path: saved(path, {**tensors(), "linear.bias": torch.full((3,), np.nan)}), "3 values that are"),
    (lambda path: saved(path, {**tensors(), "second.weight": torch.ones(5, 4)}), "3 weights are left over"),
    (lambda path: saved(path, torch.nn.GRU(2, 3).state_dict()), "not those of layout zalando but of torch"),
])  # fmt: skip
def test_files_that_cannot_be_imported(
    command: Command, tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    make(tmp_path / "weights.pt")
    assert says in refused(command, tmp_path / "weights.pt")[0]


def test_checkpoint_of_this_project_needs_no_import(command: Command, model: Path) -> None:
    message, advice = refused(command, model)
    assert "is a drnn-deploy checkpoint already" in message
    assert advice == f"Type: drnn-export {model}"


@pytest.mark.parametrize("packing", [torch.save, lambda data, path: path.write_bytes(pickle.dumps(data, 2))])
def test_pickle_that_runs_code_is_refused_and_not_run(
    command: Command, tmp_path: Path, packing: Callable[[object, Path], object]
) -> None:
    packing({"state_dict": Bomb(tmp_path / "marker")}, tmp_path / "weights.pt")
    assert "was not loaded" in refused(command, tmp_path / "weights.pt")[0]
    assert not (tmp_path / "marker").exists()
    pickle.loads(pickle.dumps(Bomb(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()  # it would have gone off


class Settings:
    """What Lightning keeps beside the weights: an object of the user's own class."""


@pytest.mark.parametrize("data", [
    lambda: {"state_dict": tensors(), "hyper_parameters": {"loss": Settings()}},
    lambda: torch.nn.ModuleDict({"cells": torch.nn.ModuleList([torch.nn.GRU(2, 4), torch.nn.GRU(4, 4)])}),
], ids=["Lightning", "whole module"])  # fmt: skip
def test_advice_for_pickled_objects_takes_the_weights_out(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Callable[[], object]
) -> None:
    file = saved(tmp_path / "it's my model.ckpt", data())
    advice = refused(command, file)[1]
    line = advice.partition("there: ")[2].splitlines()[0]
    python, option, program, *words = shlex.split(line)
    assert (python, option) == ("python", "-c")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [option, *words])
    exec(program, {"__name__": "__main__"})
    model = tmp_path / "model.pt"
    weights = tmp_path / "it's my model-weights.pt"
    assert command("drnn-deploy", "import", weights, "--layout", "zalando", "--output", model).code == 0


def test_left_out_weights_need_a_comparison(command: Command, tmp_path: Path) -> None:
    file = saved(tmp_path / "weights.pt", {**tensors(), "scale": torch.ones(1)})
    message, advice = refused(command, file, "--ignore", "scale")
    assert "--ignore leaves out 'scale'" in message
    assert "prove it: --compare original.npz" in advice


def test_the_comparison_is_not_replaced_by_the_checkpoint(command: Command, tmp_path: Path) -> None:
    proof = tmp_path / "original.npz"
    proof.write_bytes(b"kept")
    ran = command("drnn-deploy", "import", ZALANDO, "--compare", proof, "--output", proof, "--force")
    assert ran.code == 2
    assert f"--output would write over {proof}, which is read" in ran.err
    assert proof.read_bytes() == b"kept"


def test_comparison_that_is_not_there_says_how_to_make_it(command: Command, tmp_path: Path) -> None:
    ran = command("drnn-deploy", "import", ZALANDO, "--layout", "zalando", "--compare", tmp_path / "none.npz")
    assert ran.code == 2
    assert "none.npz does not exist" in ran.err
    assert 'numpy.savez("original.npz", inputs=inputs.numpy(), outputs=outputs.numpy())' in ran.err


def test_failure_is_written_as_json_too(command: Command, tmp_path: Path) -> None:
    ran = command("drnn-deploy", "import", tmp_path / "none.pt", "--layout", "torch", "--json", "-")
    assert ran.code == 2
    assert json.loads(ran.out)["passed"] is False


@pytest.mark.parametrize("dilations", ["1,,2", "1;2", "0,1", "1,2,", "one"])
def test_dilations_that_are_none(command: Command, dilations: str) -> None:
    ran = command("drnn-deploy", "import", ZALANDO, "--layout", "zalando", "--dilations", dilations)
    assert ran.code == 2
    assert "--dilations" in ran.err


def test_layout_must_be_said_where_names_fit_two(command: Command) -> None:
    ran = command("drnn-deploy", "import", ZALANDO)
    assert ran.code == 2
    assert "type: --layout zalando" in ran.err
    assert "type: --layout torch --dilations 1,1,1,1" in ran.err
