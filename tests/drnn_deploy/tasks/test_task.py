from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from drnn_core.errors import InputError
from drnn_deploy.tasks import IGNORED, TASKS, Batch, Score, make_task
from drnn_deploy.tasks.copy_memory import CopyMemory


def answers(targets: ArrayLike, groups: list[int] | None = None) -> Batch:
    wanted = np.array(targets)
    return Batch(np.zeros((len(wanted), 1, 1), np.float32), wanted, None if groups is None else np.array(groups))


def test_unknown_task_is_refused_with_those_that_are() -> None:
    for name in ("mnist", "", ["copy-memory"], None):
        with pytest.raises(InputError, match="there is no task") as refusal:
            make_task(name, {})  # type: ignore[arg-type]
        assert refusal.value.fix.endswith(f"Choose from: {', '.join(sorted(TASKS))}.")


@pytest.mark.parametrize("name", TASKS)
def test_unknown_option_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(InputError, match="has no option 'sped'") as refusal:
        make_task(name, {"sped": 1})
    assert refusal.value.fix.removeprefix("Choose from: ").removesuffix(".").split(", ") == sorted(
        field.name for field in dataclasses.fields(TASKS[name])
    )
    with pytest.raises(InputError, match="has no option 'name'"):
        make_task(name, {"name": "other"})


@pytest.mark.parametrize("options", [5, "delay", None, ["delay"]])
def test_options_must_be_a_table(options: object) -> None:
    with pytest.raises(InputError, match="must be a table"):
        make_task("copy-memory", options)  # type: ignore[arg-type]


def test_score_is_the_cross_entropy_computed_by_hand() -> None:
    score = Score()
    score.add(np.log([[1.0, 3.0], [1.0, 1.0]]), answers([1, 0]))  # probabilities 3/4 and 1/2
    score.add(np.log([[[8.0, 1.0], [1.0, 9.0]]]), answers([[1, 1]]))  # 1/9 and 9/10
    metrics = score.metrics()
    expected = -(math.log(3 / 4) + math.log(1 / 2) + math.log(1 / 9) + math.log(9 / 10)) / 4
    assert metrics["cross_entropy"] == pytest.approx(expected, rel=1e-14)
    assert metrics["accuracy"] == 3 / 4  # a tie counts as the first class


def test_guessing_scores_the_logarithm_of_the_classes() -> None:
    score, task = Score(), CopyMemory(5)
    for batch in task.batches("test", 100):
        score.add(np.zeros((*batch.targets.shape, task.classes), np.float32), batch)
    assert score.count == 10_240
    assert score.metrics()["cross_entropy"] == pytest.approx(math.log(8))
    assert score.metrics()["accuracy"] == pytest.approx(1 / 8, abs=0.02)


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4, 3e38])
def test_score_of_large_logits_neither_overflows_nor_changes(offset: float) -> None:
    score = Score()
    score.add(np.array([[offset, offset]], np.float32), answers([0]))
    assert score.metrics()["cross_entropy"] == pytest.approx(math.log(2))


@given(st.integers(1, 30), st.integers(1, 30))
def test_score_does_not_depend_on_the_batches(count: int, size: int) -> None:
    random = np.random.default_rng(count)
    outputs, targets = random.standard_normal((count, 4)), random.integers(0, 4, count)
    whole, parts = Score(), Score()
    whole.add(outputs, answers(targets))
    for start in range(0, count, size):
        parts.add(outputs[start : start + size], answers(targets[start : start + size]))
    assert parts.metrics() == pytest.approx(whole.metrics())


def test_ignored_steps_count_for_nothing() -> None:
    score, some = Score(), Score()
    outputs = np.random.default_rng(0).standard_normal((2, 3, 4))
    score.add(outputs, answers([[IGNORED, 1, 2], [IGNORED, IGNORED, 3]]))
    some.add(outputs[[0, 0, 1], [1, 2, 2]], answers([1, 2, 3]))
    assert score.count == 3
    assert score.metrics() == some.metrics()


def test_group_is_judged_by_the_mean_log_probability_of_its_parts() -> None:
    score = Score()
    score.add(np.log([[0.6, 0.4], [0.1, 0.9], [0.7, 0.3]]), answers([1, 1, 1], groups=[7, 7, 8]))
    score.add(np.log([[0.4, 0.6]]), answers([1], groups=[8]))
    metrics = score.metrics()
    assert metrics["accuracy"] == 0.5
    assert metrics["group_accuracy"] == 0.5  # 7: .4 * .9 > .6 * .1, right; 8: .3 * .6 < .7 * .4, wrong
    assert "group_accuracy" not in Score(1.0, 1, 1).metrics()
