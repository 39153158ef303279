"""Answers that are kept: right ones are taken, whatever else lies there is computed again."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from drnn_deploy.parity import reference_cache
from drnn_deploy.parity.cases import CaseInputs, sequence_cases
from drnn_deploy.parity.golden import known_answer
from drnn_deploy.parity.known_answers import ComputedAnswers
from drnn_deploy.parity.reference_cache import answer_key, cached_answer, weights_digest
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import GoldenCase
from drnn_runtimes.bundle.golden import read_golden, write_golden
from tests.networks import random_weights

SPEC = ModelSpec("gru", (3, 4), (1, 2), Continuous(1), Head("last", 2))
WEIGHTS = random_weights(SPEC, 0)
NORMAL = sequence_cases(SPEC, 6)[1]
RIGHT = known_answer(SPEC, WEIGHTS, NORMAL, ())


class Counted:
    """Computes the right answer and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> GoldenCase:
        self.times += 1
        return RIGHT


def same(one: GoldenCase, other: GoldenCase) -> bool:
    return np.array_equal(one.outputs, other.outputs) and np.array_equal(np.asarray(one.noise), np.asarray(other.noise))


def test_answer_is_computed_once_and_comes_back_as_it_was(tmp_path: Path) -> None:
    compute = Counted()
    for _ in range(3):
        assert same(cached_answer(tmp_path, "key", SPEC, NORMAL, compute), RIGHT)
    assert compute.times == 1
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
    compute = Counted()
    cached_answer(tmp_path, "key", SPEC, NORMAL, compute)
    spoil(tmp_path / "key.npz")
    assert same(cached_answer(tmp_path, "key", SPEC, NORMAL, compute), RIGHT)
    assert compute.times == 2
    assert same(read_golden(tmp_path / "key.npz", SPEC, ())[0], RIGHT)


def test_cache_that_cannot_be_written_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert same(cached_answer(tmp_path / "file", "key", SPEC, NORMAL, Counted()), RIGHT)


def test_what_was_not_used_for_longest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached_answer(tmp_path, "first", SPEC, NORMAL, Counted())
    size = (tmp_path / "first.npz").stat().st_size
    monkeypatch.setattr(reference_cache, "MOST_BYTES", int(2.5 * size))
    cached_answer(tmp_path, "second", SPEC, NORMAL, Counted())
    for age, name in enumerate(("second", "first")):
        os.utime(tmp_path / f"{name}.npz", (age, age))
    cached_answer(tmp_path, "second", SPEC, NORMAL, Counted())  # is used
    cached_answer(tmp_path, "third", SPEC, NORMAL, Counted())
    assert {path.stem for path in tmp_path.iterdir()} == {"second", "third"}


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


def test_answers_of_a_network_are_taken_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from drnn_deploy.parity import known_answers

    graphs = [GraphRequest(6), GraphRequest(2, form="chunk")]
    first = ComputedAnswers(SPEC, WEIGHTS, graphs, cache=tmp_path)
    computed = [first.cases(graph) for graph in graphs]
    monkeypatch.setattr(known_answers, "known_answer", lambda *_: pytest.fail("computed again"))
    again = ComputedAnswers(SPEC, WEIGHTS, graphs, cache=tmp_path)
    for graph, cases in zip(graphs, computed, strict=True):
        assert again.names(graph) == [case.name for case in cases]
        assert all(same(*pair) for pair in zip(again.cases(graph), cases, strict=True))
