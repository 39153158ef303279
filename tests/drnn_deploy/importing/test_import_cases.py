"""Common modules of other code: each is imported as what it is, or refused with advice that is right to the letter."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from drnn_models.checkpoint import load_checkpoint
from drnn_models.dilated_rnn import DilatedRNN
from drnn_models.interop.convert import UNSEEN
from drnn_models.spec import Continuous, Head, ModelSpec
from tests.drnn_deploy.importing.originals import (
    CLASSES,
    FEATURES,
    HIDDEN,
    FrontOnly,
    Recurrent,
    Separate,
    Tied,
    real,
    save,
    tokens,
)

Command = Callable[..., Any]  # see conftest
LINEAR = nn.Linear(HIDDEN, CLASSES)


def imported(command: Command, file: Path, *options: str, head: str = "last") -> Any:
    words = ("--head", head, *options, "--output", file.parent / "model.pt", "--force")
    ran = command("drnn-deploy", "import", file, *words)
    assert (ran.code == 0) == (file.parent / "model.pt").exists()
    return ran


def difference(file: Path) -> float:
    """The largest difference between the imported network and the original, in float64."""
    network = load_checkpoint(file.parent / "model.pt").network().double()
    with np.load(file.parent / "original.npz") as stored, torch.no_grad():
        inputs = torch.from_numpy(stored["inputs"])
        outputs = network(inputs.double() if inputs.is_floating_point() else inputs).numpy()
        return float(np.abs(outputs - stored["outputs"]).max())


def advised(message: str) -> list[list[str]]:
    """The options that a message says to type, a list for each line that says some."""
    return [shlex.split(words) for words in re.findall(r"[Tt]ype: (--.*)", message)]


def follow(command: Command, file: Path, message: str, *options: str) -> list[float]:
    """Add each advice of a message to the options, to the letter; gives the differences of what was imported."""
    differences = []
    for words in advised(message):
        here = [str(file.parent / word) if word == "original.npz" else word for word in words]
        if imported(command, file, *options, *here).code == 0:
            differences.append(difference(file))
            (file.parent / "model.pt").unlink()
    return differences


@pytest.mark.parametrize("module, inputs", [
    (FrontOnly(HIDDEN, HIDDEN), real(HIDDEN)), (FrontOnly(HIDDEN, 4), real(HIDDEN)),
], ids=["front-same-width", "front-columns-fit"])  # fmt: skip
def test_front_layer_is_not_taken_for_the_head(
    command: Command, tmp_path: Path, module: FrontOnly, inputs: torch.Tensor
) -> None:
    file = save(tmp_path, module, inputs)
    ran = imported(command, file)
    assert ran.code == 2
    assert "could be the head or a layer before the recurrent ones" in ran.err
    assert "--head-weight inp.weight --compare original.npz" in ran.err
    assert follow(command, file, ran.err) == []
    state = module.state_dict()  # the other advice, as it is worded
    assert "'rnn.bias_ih_l0' becomes 'rnn.bias_ih_l0' + 'rnn.weight_ih_l0' @ 'inp.bias'" in ran.err
    assert "then 'rnn.weight_ih_l0' becomes 'rnn.weight_ih_l0' @ 'inp.weight'" in ran.err
    state["rnn.bias_ih_l0"] = state["rnn.bias_ih_l0"] + state["rnn.weight_ih_l0"] @ state["inp.bias"]
    state["rnn.weight_ih_l0"] = state["rnn.weight_ih_l0"] @ state["inp.weight"]
    torch.save({name: value for name, value in state.items() if "inp" not in name}, file)
    assert imported(command, file, "--compare", str(tmp_path / "original.npz")).code == 0
    assert difference(file) < 1e-6


@pytest.mark.parametrize("width", [HIDDEN, 4])
@pytest.mark.parametrize("options", [
    (), ("--ignore", "fc.2.*"), ("--head-weight", "fc.0.weight"),
    ("--head-weight", "fc.0.weight", "--ignore", "fc.2.weight", "--ignore", "fc.2.bias"),
])  # fmt: skip
def test_head_of_several_layers_is_refused(
    command: Command, tmp_path: Path, width: int, options: tuple[str, ...]
) -> None:
    head = nn.Sequential(nn.Linear(HIDDEN, width), nn.ReLU(), nn.Linear(width, CLASSES))
    file = save(tmp_path, Recurrent(head), real())
    ran = imported(command, file, *options)
    assert ran.code == 2
    assert "A head of several layers" in ran.err
    assert advised(ran.err) == []
    assert "type: --ignore" not in ran.err.lower()
    assert imported(command, file, *options, "--compare", str(tmp_path / "original.npz")).code in (1, 2)


@pytest.mark.parametrize("name, options, right", [
    ("rnns.", (), "1,1"), ("rnns.", ("--layout", "torch"), "1,1"), ("cells.", (), "1,1"),
    ("cells.", ("--layout", "torch"), "1,1"), ("cells.", ("--layout", "zalando"), "1,1"),
])  # fmt: skip
def test_separate_modules_need_their_dilations(
    command: Command, tmp_path: Path, name: str, options: tuple[str, ...], right: str
) -> None:
    file = save(tmp_path, Separate(), real(), ("rnns.", name))
    ran = imported(command, file, *options)
    assert ran.code == 2
    assert f"--dilations {right}" in ran.err
    differences = follow(command, file, ran.err, *options)
    assert len(differences) == 1
    assert differences[0] < 1e-6
    layout = () if options or name == "rnns." else ("--layout", "torch")
    assert imported(command, file, *options, *layout, "--dilations", right).code == 0
    assert difference(file) < 1e-6


class First(Recurrent):
    """The last state of the lower layer is read."""

    def __init__(self) -> None:
        super().__init__(LINEAR)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.fc(self.rnn(inputs)[1][0])
        return outputs


WITHOUT_WEIGHTS: dict[str, tuple[nn.Module, torch.Tensor]] = {
    "softmax": (Recurrent(nn.Sequential(LINEAR, nn.Softmax(-1))), real()),
    "ReLU before the head": (Recurrent(nn.Sequential(nn.ReLU(), LINEAR)), real()),
    "mean over the steps": (Recurrent(LINEAR, summary=lambda inputs, states: states.mean(1)), real()),
    "residual": (Recurrent(LINEAR, HIDDEN, lambda inputs, states: (inputs + states)[:, -1]), real(HIDDEN)),
    "reversed time": (Recurrent(LINEAR, summary=lambda inputs, states: states[:, 0]), real()),
    "state of the lower layer": (First(), real()),
    "scaling": (Recurrent(LINEAR, summary=lambda inputs, states: states[:, -1] * HIDDEN**0.5), real()),
    "layer normalisation": (Recurrent(nn.Sequential(nn.LayerNorm(HIDDEN, elementwise_affine=False), LINEAR)), real()),
}  # fmt: skip


@pytest.mark.parametrize("case", WITHOUT_WEIGHTS)
def test_what_has_no_weights_is_mentioned_and_found_by_comparing(command: Command, tmp_path: Path, case: str) -> None:
    module, inputs = WITHOUT_WEIGHTS[case]
    file = save(tmp_path, module, inputs)
    ran = imported(command, file)
    assert ran.code == 0
    assert f"note     {UNSEEN}" in ran.out
    assert (
        f"drnn-deploy import {file} --output {tmp_path / 'model.pt'} --head last --force --compare original.npz"
        in ran.out
    )
    assert difference(file) > 1e-3
    (tmp_path / "model.pt").unlink()
    ran = imported(command, file, "--compare", str(tmp_path / "original.npz"))
    assert ran.code == 1
    assert "the network is not the original" in ran.err


def test_code_that_is_shown_saves_what_proves_the_import(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = Recurrent(nn.Linear(HIDDEN, CLASSES))
    file = save(tmp_path, model, real())
    (tmp_path / "original.npz").unlink()
    shown = imported(command, file).out.partition("as model, type:\n")[2]
    code, _, rest = shown.partition("         then here: ")
    exec(textwrap.dedent(code), {"model": model})
    ran = command(*shlex.split(rest.splitlines()[0]))
    assert ran.code == 0
    assert "equal    inputs: error" in ran.out
    assert UNSEEN not in ran.out


def test_tied_embedding_is_imported_with_both_named(command: Command, tmp_path: Path) -> None:
    file = save(tmp_path, Tied(), tokens())
    both = ("--embedding", "emb.weight", "--head-weight", "fc.weight")
    for options in ((), ("--head-weight", "emb.weight", "--ignore", "fc.weight")):
        ran = imported(command, file, *options)
        assert ran.code == 2
        assert advised(ran.err)[0] == list(both)
        assert follow(command, file, ran.err)[0] < 1e-6
    assert imported(command, file, *both).code == 0
    assert difference(file) < 1e-6
    assert imported(command, file, *both, "--compare", str(tmp_path / "original.npz")).code == 0


OWN = ModelSpec("gru", (HIDDEN, HIDDEN), (1, 2), Continuous(FEATURES), Head("last", CLASSES))


@pytest.mark.parametrize("layout", ["torch", "zalando"])
def test_own_state_dict_in_another_layout_is_named(command: Command, tmp_path: Path, layout: str) -> None:
    file = save(tmp_path, DilatedRNN(OWN), real())
    ran = imported(command, file, "--layout", layout)
    assert ran.code == 2
    assert "--layout drnn" in ran.err
    assert "--dilations D0,D1" in ran.err
    assert follow(command, file, ran.err) == []


@pytest.mark.parametrize("options", [(), ("--layout", "drnn")])
def test_own_state_dict_needs_its_dilations_and_its_reset(
    command: Command, tmp_path: Path, options: tuple[str, ...]
) -> None:
    file = save(tmp_path, DilatedRNN(OWN), real())
    ran = imported(command, file, *options)
    assert ran.code == 2
    assert "--layout drnn --dilations D0,D1" in ran.err
    assert follow(command, file, ran.err, *options) == []  # its dilations are not 1,1
    asked = imported(command, file, *options, "--dilations", "1,2")
    assert asked.code == 2
    assert "--reset after|before" in ran.err
    assert "--reset after" in asked.err
    assert imported(command, file, *options, "--dilations", "1,2", "--reset", "after").code == 0
    assert load_checkpoint(tmp_path / "model.pt").spec == OWN
    assert difference(file) < 1e-6


def test_list_of_ones_own_under_our_names_is_imported_by_the_advice(command: Command, tmp_path: Path) -> None:
    file = save(tmp_path, Separate(), real(), ("rnns.", "layers."))
    state = torch.load(file)
    torch.save({name.replace("fc.", "head."): value for name, value in state.items()}, file)
    ran = imported(command, file)
    assert ran.code == 2
    (error,) = follow(command, file, ran.err)
    assert error < 1e-6
