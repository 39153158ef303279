"""Every mistake that is made in a right graph fails parity, and the explanation names where it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from drnn_deploy import export
from drnn_deploy.explaining import explain_report
from drnn_deploy.explanation import Explanation
from drnn_deploy.parity import check_parity
from drnn_models.checkpoint import Checkpoint
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import require
from tests.drnn_deploy.mutant_list import MUTANTS
from tests.drnn_deploy.mutants import BASES, Mutant
from tests.drnn_deploy.test_parity_command import rewrite_manifest
from tests.networks import random_weights

CASES = [pytest.param(mutant, name, id=f"{mutant.name}, {name}") for mutant in MUTANTS for name in mutant.runtimes]
MakeBase = Callable[[str], Path]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> MakeBase:
    """A base's bundle by name, exported once."""
    folder = tmp_path_factory.mktemp("bases")

    def make(name: str) -> Path:
        if not (folder / name).exists():
            right = BASES[name]
            result = export(Checkpoint(right.spec, random_weights(right.spec, 3)), folder / name, right.options)
            assert result.exit_code == 0
        return folder / name

    return make


def explained(folder: Path, mutant: Mutant, runtime: str) -> Explanation:
    """Make the mistake in the bundle at `folder`, see parity fail, and explain it."""
    bundle = Bundle.open(folder)
    path = bundle.path(bundle.graphs[0].file)
    model = onnx.load(path) if mutant.emitted is None else mutant.emitted(bundle)
    if mutant.change is not None:
        mutant.change(model)
    onnx.save(model, path)
    rewrite_manifest(folder, path.name)
    bundle, runtimes = Bundle.open(folder), require([runtime])
    report = check_parity(bundle, runtimes)
    assert report.exit_code in (1, 2), "it passes parity"
    (found,) = explain_report(bundle, report, runtimes)
    return found


@pytest.mark.parametrize("mutant, runtime", CASES)
def test_mistake_fails_and_is_named(mutant: Mutant, runtime: str, base: MakeBase, tmp_path: Path) -> None:
    found = explained(Path(shutil.copytree(base(mutant.base), tmp_path / "bundle")), mutant, runtime)
    assert (found.culprit, mutant.words in found.verdict) == (mutant.part, True), found.verdict
