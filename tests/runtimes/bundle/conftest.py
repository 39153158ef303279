"""A small bundle that each test may damage, and how `drnn-deploy inspect` refuses it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from drnn_deploy.cli import main
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.exporter.pipeline import export
from drnn_models.checkpoint import Checkpoint
from tests.networks import random_weights
from tests.runtimes.bundle.damage import SPEC


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / "bundle"
    export(Checkpoint(SPEC, random_weights(SPEC, 0)), folder, ExportOptions(length=8, engines=(), runtimes=("torch",)))
    return folder


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


@pytest.fixture
def refused(bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Check that `drnn-deploy inspect` refuses the bundle: exit code 2, one message that says `says`, and advice."""

    def check(*says: str) -> None:
        monkeypatch.setattr(sys, "argv", ["drnn-deploy", "inspect", str(bundle), "--json", "-"])
        with pytest.raises(SystemExit) as exit_:
            main()
        out, err = capsys.readouterr()
        assert exit_.value.code == 2
        message, *advice = err.strip().splitlines()
        assert message.startswith("drnn-deploy: ")
        assert advice
        for words in says:
            assert words in err
        assert json.loads(out)["passed"] is False
        assert "Traceback" not in err

    return check
