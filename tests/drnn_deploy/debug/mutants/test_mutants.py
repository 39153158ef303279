"""Every mistake that is made in a right graph fails parity, and the explanation names where it is."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from drnn_deploy import export
from drnn_deploy.debug.explain import explain_report
from drnn_deploy.debug.explanation import Explanation, wrong_stages
from drnn_deploy.parity.check import check_parity
from drnn_models.checkpoint import Checkpoint
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import require
from tests.drnn_deploy.debug.mutants import layouts, states, types, weights
from tests.drnn_deploy.debug.mutants.bases import BASES
from tests.drnn_deploy.debug.mutants.mutant import BOTH, HERE, Mutant
from tests.networks import random_weights
from tests.nightly import NIGHTLY, some_by_day
from tests.sealing import reseal

MUTANTS = [
    *weights.WEIGHTS,
    *weights.CELLS,
    *types.PRECISIONS,
    *layouts.LAYOUT,
    *layouts.BLOCKS,
    *states.STATES,
    *types.EDGES,
]
MakeBase = Callable[[str], Path]
PAIRS = {f"{mutant.name}, {name}": (mutant, name) for mutant in MUTANTS for name in mutant.runtimes}
Explain = Callable[[Mutant, str], Explanation]


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> MakeBase:
    """A base's bundle by name, exported once."""
    folder = tmp_path_factory.mktemp("bases")

    def make(name: str) -> Path:
        if not (folder / name).exists():
            right = BASES[name]
            result = export(Checkpoint(right.spec, random_weights(right.spec, 3)), folder / name, right.options)
            assert result.exit_code == 0
        return folder / name

    return make


@pytest.fixture(scope="session")
def explained(bases: MakeBase, tmp_path_factory: pytest.TempPathFactory) -> Explain:
    """What is found out about a mutant on a runtime, found out once. Fails where the mutant passes parity."""

    @functools.cache
    def explain(mutant: Mutant, runtime: str) -> Explanation:
        folder = Path(shutil.copytree(bases(mutant.base), tmp_path_factory.mktemp("mutant") / "bundle"))
        bundle = Bundle.open(folder)
        path = bundle.path(bundle.graphs[0].file)
        model = onnx.load(path) if mutant.emitted is None else mutant.emitted(bundle)
        if mutant.change is not None:
            mutant.change(model)
        onnx.save(model, path)
        reseal(folder)
        bundle, runtimes = Bundle.open(folder), require([runtime])
        report = check_parity(bundle, runtimes)
        assert report.exit_code in (1, 2), "it passes parity"
        (found,) = explain_report(bundle, report, runtimes)
        return found

    return explain


@pytest.mark.parametrize("pair", some_by_day(list(PAIRS), 7))
def test_mistake_fails_and_is_named(pair: str, explained: Explain) -> None:
    mutant, runtime = PAIRS[pair]
    found = explained(mutant, runtime)
    assert (found.culprit, mutant.words in found.verdict) == (mutant.part, True), found.verdict
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["verdict"] == found.verdict


def test_numbers_alone_name_the_layer(explained: Explain, record_property: Callable[[str, object], None]) -> None:
    """Without the comparison of graphs, which only the emitter's own can have."""
    inside = [mutant for mutant in MUTANTS if mutant.part.startswith("layer")]
    taken = inside if NIGHTLY else inside[::4]
    found = [explained(mutant, HERE) for mutant in taken]
    named = [
        wrong_stages(each.stages, each.states)[:1] == [mutant.part] for mutant, each in zip(taken, found, strict=True)
    ]
    record_property("layers of mutants named by numbers alone", f"{sum(named)} of {len(named)}")
    assert len(inside) >= 25
    assert sum(named) >= 0.9 * len(named)


def test_there_are_mutants_of_every_kind() -> None:
    assert len(MUTANTS) == len({mutant.name for mutant in MUTANTS}) >= 60
    assert {mutant.base for mutant in MUTANTS} == set(BASES)
    assert sum(len(mutant.runtimes) == 2 for mutant in MUTANTS) >= 20


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("runtime", BOTH)
def test_right_graphs_pass(name: str, runtime: str, bases: MakeBase) -> None:
    """On which the mutants that must fail are made."""
    bundle, runtimes = Bundle.open(bases(name)), require([runtime])
    report = check_parity(bundle, runtimes)
    assert report.passed
    assert explain_report(bundle, report, runtimes) == ()
