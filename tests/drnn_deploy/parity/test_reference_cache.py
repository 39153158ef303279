"""Answers that are kept: right ones are taken, whatever else lies there is computed again."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from drnn_core import types
from drnn_deploy.parity import cases, compare, golden, reference_cache, tolerance
from drnn_deploy.parity.cases import CaseInputs, sequence_cases
from drnn_deploy.parity.golden import known_answer
from drnn_deploy.parity.known_answers import ComputedAnswers, as_inputs
from drnn_deploy.parity.reference_cache import answer_key, keep_answer, kept_answer, weights_digest
from drnn_export.emitter.request import GraphRequest
from drnn_models import spec
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import GoldenCase
from drnn_runtimes.bundle.golden import read_golden, write_golden
from drnn_runtimes.reference import noise
from tests.networks import random_weights

SPEC = ModelSpec("gru", (3, 4), (1, 2), Continuous(1), Head("last", 2))
WEIGHTS = random_weights(SPEC, 0)
NORMAL = sequence_cases(SPEC, 6)[1]
RIGHT = known_answer(SPEC, WEIGHTS, NORMAL, ())


def same(one: GoldenCase, other: GoldenCase) -> bool:
    return np.array_equal(one.outputs, other.outputs) and np.array_equal(np.asarray(one.noise), np.asarray(other.noise))


def kept(cache: Path, key: str) -> GoldenCase | None:
    return kept_answer(cache, key, SPEC, NORMAL)


def test_answer_comes_back_as_it_was(tmp_path: Path) -> None:
    assert kept(tmp_path, "key") is None
    keep_answer(tmp_path, "key", SPEC, RIGHT)
    for _ in range(2):
        answer = kept(tmp_path, "key")
        assert answer is not None and same(answer, RIGHT)
    assert [path.name for path in tmp_path.iterdir()] == ["key.npz"]


def damaged(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:-40])


def of_other_inputs(entry: Path) -> None:
    (case,) = read_golden(entry, SPEC, ())
    write_golden(entry, SPEC, (), [dataclasses.replace(case, inputs=case.inputs + np.float32(1))])


def of_another_case(entry: Path) -> None:
    (case,) = read_golden(entry, SPEC, ())
    write_golden(entry, SPEC, (), [dataclasses.replace(case, name="zeros")])


def of_two_cases(entry: Path) -> None:
    (case,) = read_golden(entry, SPEC, ())
    write_golden(entry, SPEC, (), [case, dataclasses.replace(case, name="zeros")])


def of_another_network(entry: Path) -> None:
    fewer = dataclasses.replace(RIGHT, outputs=RIGHT.outputs[:, :1], noise=1.0, signal=None, narrow_noise={})
    write_golden(entry, dataclasses.replace(SPEC, head=Head("last", 1)), (), [fewer])


@pytest.mark.parametrize("spoil", [damaged, of_other_inputs, of_another_case, of_two_cases, of_another_network])
def test_whatever_else_lies_there_is_computed_again(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    answers = [ComputedAnswers(SPEC, WEIGHTS, [GraphRequest(6)], cache=tmp_path).answer(NORMAL)]
    (entry,) = tmp_path.iterdir()
    spoil(entry)
    assert kept(tmp_path, entry.stem) is None
    answers.append(ComputedAnswers(SPEC, WEIGHTS, [GraphRequest(6)], cache=tmp_path).answer(NORMAL))
    assert all(same(answer, RIGHT) for answer in answers)
    assert same(read_golden(entry, SPEC, ())[0], RIGHT)


def test_cache_that_cannot_be_written_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    keep_answer(tmp_path / "file", "key", SPEC, RIGHT)
    assert kept(tmp_path / "file", "key") is None
    assert (tmp_path / "file").read_text(encoding="utf-8") == ""


def test_what_was_not_used_for_longest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (digit * 64 for digit in "123")
    keep_answer(tmp_path, first, SPEC, RIGHT)
    size = (tmp_path / f"{first}.npz").stat().st_size
    monkeypatch.setattr("drnn_core.cache.limit", lambda _: int(2.5 * size))
    keep_answer(tmp_path, second, SPEC, RIGHT)
    for age, name in enumerate((second, first)):
        os.utime(tmp_path / f"{name}.npz", (age, age))
    assert kept(tmp_path, second) is not None  # is used
    keep_answer(tmp_path, third, SPEC, RIGHT)
    assert {path.stem for path in tmp_path.iterdir()} == {second, third}


def test_key_is_another_for_whatever_decides_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = weights_digest(WEIGHTS)
    other = {**WEIGHTS, "head.bias": np.nextafter(WEIGHTS["head.bias"], np.float32(9))}
    keys = [
        answer_key(SPEC, digest, NORMAL, ()),
        answer_key(dataclasses.replace(SPEC, reset="before"), digest, NORMAL, ()),
        answer_key(SPEC, weights_digest(other), NORMAL, ()),
        answer_key(SPEC, digest, CaseInputs("normal", NORMAL.inputs + np.float32(1e-6)), ()),
        answer_key(SPEC, digest, dataclasses.replace(NORMAL, stream=True), ()),
        answer_key(SPEC, digest, dataclasses.replace(NORMAL, targets=np.zeros(4, np.int64)), ()),
        answer_key(SPEC, digest, NORMAL, ("fp16",)),
    ]
    monkeypatch.setattr(reference_cache, "_code_digest", lambda: "other code")
    keys.append(answer_key(SPEC, digest, NORMAL, ()))
    monkeypatch.setattr(reference_cache, "torch_is_here", lambda: False)
    keys.append(answer_key(SPEC, digest, NORMAL, ()))
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("module", [types, spec, cases, compare, golden, tolerance, noise], ids=lambda m: m.__name__)
def test_key_is_of_all_code_that_an_answer_is_made_with(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of spacings, limits and inputs, too."""
    before, read = reference_cache._code_digest.__wrapped__(), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda file: read(file) + b"#" * (str(file) == module.__file__))
    assert reference_cache._code_digest.__wrapped__() != before


def test_answers_of_a_network_are_taken_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from drnn_deploy.parity import known_answers

    graphs = [GraphRequest(6), GraphRequest(2, form="chunk")]
    first = ComputedAnswers(SPEC, WEIGHTS, graphs, cache=tmp_path)
    computed = [first.cases(graph) for graph in graphs]
    monkeypatch.setattr(known_answers, "known_answers", lambda *_: pytest.fail("computed again"))
    again = ComputedAnswers(SPEC, WEIGHTS, graphs, cache=tmp_path)
    for graph, known in zip(graphs, computed, strict=True):
        assert again.names(graph) == [case.name for case in known]
        assert all(same(*pair) for pair in zip(again.cases(graph), known, strict=True))


def test_cases_of_one_length_are_computed_together_and_each_is_as_if_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from drnn_deploy.parity import golden

    loops: list[int] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        loops.append(len(arguments[2]))
        return answers(*arguments, **options)

    answers = golden.answers
    monkeypatch.setattr(golden, "answers", counted)
    cases = ComputedAnswers(SPEC, WEIGHTS, [GraphRequest(6)], cache=tmp_path).cases(GraphRequest(6))
    assert loops == [len(cases)]
    for case in cases:
        alone = known_answer(SPEC, WEIGHTS, as_inputs(case), ())
        np.testing.assert_allclose(case.outputs, alone.outputs, rtol=1e-12)
        np.testing.assert_allclose(case.noise, alone.noise, rtol=0.5)
