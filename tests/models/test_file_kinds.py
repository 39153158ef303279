"""Files of other kinds where a checkpoint is wanted: each is named, with the command that takes it."""

from __future__ import annotations

import pickle
import shlex
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import save_file

from drnn_core.errors import InputError
from drnn_models.checkpoint import load_checkpoint
from drnn_models.interop.import_file import import_file
from drnn_models.interop.state_dict import read_state_dict
from tests.nightly import NIGHTLY


def gru() -> torch.nn.GRU:
    return torch.nn.GRU(2, 3, batch_first=True).eval()


class Settings:
    """What a training keeps beside its weights: an object of a class of its own."""


def onnx_graph(path: Path) -> None:
    sides = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2])] for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "graph", *sides)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def exported_program(path: Path) -> None:
    """What torch.export.save writes, without the seconds that torch.export takes to be imported by day."""
    if NIGHTLY:
        program = torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),))
        torch.export.save(program, str(path.with_suffix(".pt2")))
        path.with_suffix(".pt2").rename(path)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/models/model.json", "{}")


def bundle(path: Path) -> None:
    path.mkdir()
    (path / "manifest.json").write_text("{}", encoding="utf-8")


KINDS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "state dict": (lambda path: torch.save(gru().state_dict(), path), "is a state dict", "drnn-deploy import {}"),
    "training checkpoint": (
        lambda path: torch.save({"model_state_dict": gru().state_dict(), "epoch": 3}, path),
        "is a training checkpoint with a state dict", "drnn-deploy import {}",
    ),
    "Lightning, plain": (
        lambda path: torch.save({"state_dict": gru().state_dict(), "pytorch-lightning_version": "2.6"}, path),
        "is a checkpoint of Lightning with a state dict", "drnn-deploy import {}",
    ),
    "Lightning, with objects": (
        lambda path: torch.save(
            {"state_dict": gru().state_dict(), "pytorch-lightning_version": "2.6", "hparams": Settings()}, path
        ),
        "holds Python objects", "It seems to be a checkpoint of Lightning",
    ),
    "whole module": (lambda path: torch.save(gru(), path), "holds Python objects", "It seems to be a whole module"),
    "whole module, in the old format": (
        lambda path: torch.save(gru(), path, _use_new_zipfile_serialization=False), "holds Python objects",
        "It seems to be a whole module",
    ),
    "training state with objects": (
        lambda path: torch.save({"epoch": Settings(), "model_state_dict": gru().state_dict()}, path),
        "holds Python objects", "to be Python objects",
    ),
    "weights beside objects": (
        lambda path: torch.save({**gru().state_dict(), "when": Settings()}, path), "holds Python objects",
        "to be Python objects",
    ),
    "other objects": (lambda path: torch.save({"a": Settings()}, path), "holds Python objects", "to be Python objects"),
    "safetensors": (
        lambda path: save_file(dict(gru().state_dict()), path), "is a safetensors file", "drnn-deploy import {}",
    ),
    "TorchScript": (
        lambda path: torch.jit.save(torch.jit.script(gru()), str(path)), "is a TorchScript file",
        """drnn-deploy import 'it'"'"'s a model-weights.pt'""",
    ),
    "exported program": (
        exported_program, "is an exported program", """torch.save(module.state_dict(), "it's a model-weights.pt")""",
    ),
    "ONNX": (onnx_graph, "is an ONNX file", "drnn-deploy lint {}"),
    "bundle": (bundle, "is a bundle", "drnn-parity {}"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_kind_is_named_with_the_command_that_takes_it(tmp_path: Path, kind: str) -> None:
    make, says, advice = KINDS[kind]
    path = tmp_path / "it's a model.pt"
    make(path)
    with pytest.raises(InputError) as refused:
        load_checkpoint(path)
    assert says in refused.value.message
    assert advice.format(shlex.quote(str(path))) in refused.value.fix
    if "drnn-deploy import {}" not in advice:
        with pytest.raises(InputError) as refused:
            read_state_dict(path)
        assert says in refused.value.message


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["it's a model.pt", "weights.pt"])
@pytest.mark.parametrize(
    "kind",
    [
        "TorchScript", "whole module", "state dict", "safetensors", "Lightning, with objects",
        "training state with objects", "weights beside objects",
    ],
)  # fmt: skip
def test_commands_of_the_advice_end_in_a_checkpoint_and_leave_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    KINDS[kind][0](Path(name))
    given = Path(name).read_bytes()
    with pytest.raises(InputError) as refused:
        load_checkpoint(Path(name))
    for line in refused.value.fix.splitlines():
        if " python -c " in line:
            code, *arguments = shlex.split(line.partition(" python -c ")[2])
            monkeypatch.setattr(sys, "argv", ["-c", *arguments])
            exec(code, {})
        elif "drnn-deploy import" in line:
            _, _, file, *options = shlex.split(line.partition(": ")[2])
            output = Path(options[1]) if options else Path("model.pt")
            import_file(Path(file), output)
            assert load_checkpoint(output).dilated.hidden == (3,)
            assert Path(name).read_bytes() == given
            return
    pytest.fail(f"no advice leads to an import: {refused.value.fix}")


@pytest.mark.parametrize("content", [
    b"", b"\x08", b"PK\x03\x04", b"PK\x03\x04" + bytes(60), b"\x80\x02.", pickle.dumps(["x"], 4), b"\x08\x08garbage",
])  # fmt: skip
def test_any_bytes_are_an_input_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    for read in (load_checkpoint, read_state_dict):
        with pytest.raises(InputError) as refused:
            read(tmp_path / "model.pt")
        assert refused.value.fix
