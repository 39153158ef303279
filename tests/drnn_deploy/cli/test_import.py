"""`drnn-deploy import`: the files people have, and what is written and shown."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from drnn_models.checkpoint import Checkpoint, load_checkpoint
from drnn_models.interop.choices import Choices
from drnn_models.interop.state_dict import read_state_dict
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.drnn_deploy.cli.foreign_files import ZALANDO, recorded, refused, saved, tensors
from tests.drnn_deploy.conftest import Command
from tests.models.interop.foreign_states import FIXTURES, wrapped


def test_original_is_written_and_shown(command: Command, tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    ran = command("drnn-deploy", "import", ZALANDO, "--layout", "zalando", "--output", model)
    assert (ran.code, ran.err) == (0, "")
    table = ran.out.partition("\nnetwork ")[0].splitlines()[2:]
    rows = {tuple(re.split(r" {2,}", line.strip())) for line in table}
    assert len(rows) == 18
    assert ("layers.2.bias_hh_l0", "12", "drnn.cells.2.bias_hh_l0") in rows
    assert "network  4 layers of GRU, 4 units each, dilations 1, 2, 4, 8" in ran.out
    assert f"next    drnn-export {model} --length STEPS" in ran.out
    checkpoint = load_checkpoint(model)
    assert checkpoint.provenance == {
        "imported_from": "zalando",
        "file": "zalando-gru-copy.pt",
        "options": {"activation": "tanh", "head": "sequence"},
    }
    with np.load(ZALANDO.with_suffix(".npz")) as stored, torch.inference_mode():
        found = checkpoint.network()(torch.from_numpy(stored["inputs_13"])).numpy()
        np.testing.assert_allclose(found, stored["outputs_13"], rtol=0, atol=1e-6)


def test_imported_network_is_exported_and_passes(command: Command, tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    assert command("drnn-deploy", "import", ZALANDO, "--layout", "zalando", "--output", model).code == 0
    words = ("--output", tmp_path / "bundle", "--engine", "none", "--runtime", "onnxruntime-cpu", "--length", 13)
    assert command(model, *words).code == 0


def test_dilations_come_from_the_file_where_it_says_them(command: Command, tmp_path: Path) -> None:
    model, file = tmp_path / "model.pt", FIXTURES / "neuralforecast-lstm.safetensors"
    words = ("--layout", "neuralforecast", "--ignore", "context_adapter.*", "--ignore", "mlp_decoder.*")
    ran = command("drnn-deploy", "import", file, *words, "--head", "last", "--output", model)
    assert ran.code == 0
    assert load_checkpoint(model).spec == ModelSpec(
        "lstm", (4, 4, 4), (4, 5, 1), Continuous(2), Head("last", 4), fusion=False
    )
    assert "note     dilations are those that the file says" in ran.out
    assert "ignored  mlp_decoder.layers.3.weight" in ran.out
    assert "(identity)" in ran.out
    ran = command("drnn-deploy", "import", file, *words, "--dilations", "1, 2,4", "--output", model, "--force")
    assert ran.code == 0
    assert load_checkpoint(model).dilated.dilations == (1, 2, 4)


@pytest.mark.parametrize("metadata", [
    {}, {"hyper_parameters": "{"}, {"hyper_parameters": "[]"}, {"hyper_parameters": '{"dilations": [[1, 2, 4], [8]]}'},
    {"hyper_parameters": '{"dilations": 3}'}, {"hyper_parameters": "[" * 100_000},
    {"hyper_parameters": '{"dilations": ["124"]}'},
])  # fmt: skip
def test_file_that_does_not_say_the_dilations(tmp_path: Path, metadata: dict[str, str]) -> None:
    save_file(tensors(), tmp_path / "weights.safetensors", metadata)
    assert read_state_dict(tmp_path / "weights.safetensors").dilations is None


@pytest.mark.parametrize("container", [None, "state_dict", "model_state_dict", "model"])
def test_state_dict_alone_or_in_a_training_checkpoint(command: Command, tmp_path: Path, container: str | None) -> None:
    data: Any = {container: tensors(), "epoch": 3, "optimizer": {"state": {}}} if container else tensors()
    file = saved(tmp_path / "weights.pt", data)
    assert command("drnn-deploy", "import", file, "--layout", "zalando", "--output", tmp_path / "model.pt").code == 0
    weights = load_checkpoint(tmp_path / "model.pt").weights
    np.testing.assert_array_equal(weights["layers.1.weight_hh_l0"], wrapped()["drnn.cells.1.weight_hh_l0"])
    np.testing.assert_array_equal(weights["head.weight"], wrapped()["linear.weight"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_safetensors_of_any_floating_type(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file({name: value.to(dtype) for name, value in tensors().items()}, tmp_path / "weights.bin")
    for name, value in read_state_dict(tmp_path / "weights.bin").arrays.items():
        np.testing.assert_array_equal(value, tensors()[name].to(dtype).double().numpy())


def test_every_option_reaches_the_checkpoint(command: Command, tmp_path: Path) -> None:
    rnn = torch.nn.RNN(3, 4, 2, bias=False, nonlinearity="relu")
    state = {f"rnn.{name}": value for name, value in rnn.state_dict().items()}
    heads = {"near.weight": torch.randn(2, 4), "far.weight": torch.randn(5, 4), "table.weight": torch.randn(9, 3)}
    file = saved(tmp_path / "weights.pt", state | heads)
    model = tmp_path / "model.pt"
    choices = Choices((2, 4), "relu", "last_k", 3, "far", "table", ("near.*",))
    proof = recorded(tmp_path / "original.npz", file, "torch", choices)
    ran = command(
        *("drnn-deploy", "import", file, "--layout", "torch", "--output", model, "--json", "-"),
        *("--dilations", "2,4", "--activation", "relu", "--head", "last_k", "--steps", "3"),
        *("--head-weight", "far", "--embedding", "table", "--ignore", "near.*"),
        *("--compare", proof),
    )
    assert ran.code == 0
    checkpoint, facts = load_checkpoint(model), json.loads(ran.out)
    assert checkpoint.spec.to_json() == facts["spec"] == {
        "cell": "rnn", "hidden": [4, 4], "dilations": [2, 4], "activation": "relu", "fusion": False, "reset": "after",
        "input": {"vocabulary": 9, "embedding": 3, "kind": "tokens"},
        "head": {"kind": "last_k", "outputs": 5, "steps": 3},
    }  # fmt: skip
    assert (facts["passed"], facts["ignored"], facts["weights"]["layers.1.bias_ih_l0"]) == (True, ["near.weight"], None)
    assert facts["weights"]["head.weight"] == "far.weight"
    assert [case["passed"] for case in facts["comparison"]] == [True]
    assert facts["to_compare"] is None
    assert checkpoint.provenance["options"] == {
        "dilations": [2, 4], "activation": "relu", "head": "last_k", "steps": 3, "head_weight": "far",
        "embedding": "table", "ignore": ["near.*"],
    }  # fmt: skip


def test_output_that_exists_is_kept_without_force(command: Command, tmp_path: Path) -> None:
    file = saved(tmp_path / "weights.pt", tensors())
    (tmp_path / "out.pt").write_text("mine", encoding="utf-8")
    words = ("drnn-deploy", "import", file, "--layout", "zalando", "--output", tmp_path / "out.pt")
    ran = command(*words)
    assert (ran.code, (tmp_path / "out.pt").read_text(encoding="utf-8")) == (2, "mine")
    assert "out.pt exists already" in ran.err
    assert "--force" in ran.err
    assert command(*words, "--force").code == 0
    assert isinstance(load_checkpoint(tmp_path / "out.pt"), Checkpoint)


def test_imported_file_is_never_the_output(command: Command, tmp_path: Path) -> None:
    file = saved(tmp_path / "model.pt", tensors())
    before = file.read_bytes()
    (tmp_path / "link.pt").symlink_to(file)
    for output in (file, tmp_path / "link.pt"):
        ran = command("drnn-deploy", "import", file, "--layout", "zalando", "--output", output, "--force")
        assert (ran.code, file.read_bytes()) == (2, before)
        assert f"--output would write over {file}, which is read" in ran.err


def test_code_that_saves_the_originals_outputs_is_in_the_json(command: Command, tmp_path: Path) -> None:
    ran = command("drnn-deploy", "import", ZALANDO, "--layout", "zalando", "--output", tmp_path / "m.pt", "--json", "-")
    facts = json.loads(ran.out)
    assert facts["comparison"] is None
    assert "numpy.savez" in facts["to_compare"]["code"]
    again = ["--layout", "zalando", "--output", str(tmp_path / "m.pt"), "--json", "-", "--force"]
    wanted = ["drnn-deploy", "import", str(ZALANDO), *again, "--compare", "original.npz"]
    assert shlex.split(facts["to_compare"]["command"]) == wanted


def test_names_in_the_file_cannot_move_the_cursor(command: Command, tmp_path: Path) -> None:
    file = saved(tmp_path / "weights.pt", {**tensors(), "evil\x1b[2J": torch.ones(1)})
    message, advice = refused(command, file)
    assert "\x1b" not in message + advice
    proof = recorded(tmp_path / "original.npz", file, "zalando", Choices(ignore=("evil*",)))
    words = ("--layout", "zalando", "--ignore", "evil?[[]2J", "--output", tmp_path / "model.pt", "--compare", proof)
    ran = command("drnn-deploy", "import", file, *words)
    assert ran.code == 0
    assert "\x1b" not in ran.out
