"""What `drnn-export --triton` does with what is in the model repository already, and what it says of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from drnn_core.errors import EngineError, InputError
from drnn_core.types import Availability
from drnn_deploy import ExportOptions, export
from drnn_deploy.exporter import engines
from drnn_deploy.exporter.triton import write_repository
from drnn_models.checkpoint import Checkpoint
from drnn_runtimes.bundle import Bundle, EngineInfo
from tests.drnn_deploy.conftest import Command
from tests.drnn_deploy.exporter.exports import QUICK, names
from tests.runtimes.trt.engines import SIDECAR

WORDS = ("--batch", "dynamic", *QUICK)


@pytest.fixture(scope="module")
def served(network: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that Triton can serve, without an engine."""
    options = ExportOptions(batch=None, engines=(), runtimes=("onnxruntime-cpu",))
    return export(network, tmp_path_factory.mktemp("served") / "bundle", options).bundle


@pytest.fixture
def repository(served: Bundle, tmp_path: Path) -> Path:
    """A repository with both models of an earlier export, named as the checkpoint; a file stands for the engine."""
    engine = EngineInfo("engines/plan", "engines/plan.json", served.graphs[0].file, "tensorrt")
    (served.folder / "engines").mkdir(exist_ok=True)
    (served.folder / engine.file).write_bytes(b"an engine")
    dataclasses.replace(SIDECAR, batch=(1, 8, 64)).write(served.folder / engine.sidecar)
    with_engine = dataclasses.replace(served, engines=(engine,))
    assert write_repository(with_engine, tmp_path / "models", "model").removed is None
    return tmp_path / "models"


def test_the_engine_of_an_earlier_bundle_serves_no_more(
    repository: Path, model: Path, served: Bundle, command: Command
) -> None:
    old = repository / "model-tensorrt"
    ran = command(model, "--output", model.parent / "bundle", "--triton", repository, *WORDS)
    assert ran.code == 0
    assert f"triton  {old} was removed: it had an earlier engine, and this bundle has none" in ran.out
    assert names(repository) == ["model", "model/1", "model/1/model.onnx", "model/config.pbtxt"]
    assert write_repository(served, repository, "model").removed is None


def test_a_link_to_it_goes_too(repository: Path, served: Bundle, tmp_path: Path) -> None:
    (repository / "model-tensorrt").rename(tmp_path / "elsewhere")
    (repository / "model-tensorrt").symlink_to(tmp_path / "elsewhere")
    assert write_repository(served, repository, "model").removed == repository / "model-tensorrt"
    assert names(repository) == ["model", "model/1", "model/1/model.onnx", "model/config.pbtxt"]


@pytest.mark.parametrize("file", ["model/2/model.onnx", "model-tensorrt/2/model.plan", "model-tensorrt/labels.txt"])
def test_files_of_others_are_refused_before_the_export_and_stay(
    repository: Path, model: Path, command: Command, file: str
) -> None:
    (repository / file).parent.mkdir(exist_ok=True)
    (repository / file).write_text("of somebody's own", encoding="utf-8")
    before, (name, _, rest) = names(repository), file.partition("/")
    ran = command(model, "--output", model.parent / "bundle", "--triton", repository, *WORDS, "--json", "-")
    assert ran.code == 2
    assert ran.err.splitlines() == [  # without a line of progress
        f"drnn-export: {repository / name} holds files that would be deleted: {rest}",
        "Move them elsewhere, or choose another folder with --triton.",
    ]
    assert json.loads(ran.out)["exit_code"] == 2
    assert not (model.parent / "bundle").exists()
    assert names(repository) == before


def test_models_of_others_are_not_taken_for_ours(repository: Path, served: Bundle) -> None:
    for name in ("model", "model-tensorrt"):
        config = repository / name / "config.pbtxt"
        own = config.read_text(encoding="utf-8").partition("\n")[2]
        config.write_text(own, encoding="utf-8")
        with pytest.raises(InputError, match=r"holds files that would be deleted: 1/model\.\w+, config\.pbtxt\n"):
            write_repository(served, repository, "model")
        assert config.read_text(encoding="utf-8") == own
        write_repository(served, repository, "other")
        config.unlink()
        with pytest.raises(InputError, match=r"holds files that would be deleted: 1/model\.\w+\n"):
            write_repository(served, repository, "model")
        (repository / name).rename(repository / f"{name} of mine")


@pytest.mark.parametrize("check", ["--quick", "--no-check"])
def test_an_engine_that_fails_is_the_reason_why_nothing_is_written(
    model: Path, command: Command, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EngineError("the builder crashed", "Use another style")

    monkeypatch.setattr(engines, "backend_availability", lambda *_: Availability(True, "here"))
    monkeypatch.setattr(engines, "build_engine", refuse)
    words = ("--batch", "dynamic", "--engine", "tensorrt", "--triton", model.parent / "models", check)
    ran = command(model, "--output", model.parent / "bundle", *words)
    assert ran.code == 4
    why = "no tensorrt engine of sequence/fused: the builder crashed"
    assert f"triton  nothing was written there: {why}" in ran.out.splitlines()
    assert "next    Use another style" in ran.out.splitlines()
    assert not (model.parent / "models").exists()


def test_a_check_that_fails_is_the_reason_why_nothing_is_written(model: Path, command: Command) -> None:
    words = ("--triton", model.parent / "models", *WORDS, "--max-noise", "1e-9")
    ran = command(model, "--output", model.parent / "bundle", *words)
    assert ran.code == 1
    assert "triton  nothing was written there: torch sequence: error " in ran.out
    assert not (model.parent / "models").exists()
