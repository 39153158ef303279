from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_deploy import datasets
from drnn_deploy.tasks import IGNORED, Score, make_task, ptb_char
from drnn_deploy.tasks.ptb_char import PtbChar
from drnn_models.spec import Head, Tokens
from tests.drnn_deploy.conftest import TEXTS


def stripped(text: str) -> str:
    return "\n".join(line.strip() for line in text.split("\n"))


def spelled(numbers: NDArray[np.int64]) -> str:
    return "".join(ptb_char._SYMBOLS[number] for number in numbers)


def test_ptb_fits_the_paper() -> None:
    task = PtbChar()
    assert (task.name, task.length, task.classes) == ("ptb-char", 100, 50)
    assert (task.input, task.head) == (Tokens(50), Head("sequence", 50))


@pytest.mark.usefixtures("corpus")
def test_training_windows_are_of_the_text_and_their_targets_the_next_characters() -> None:
    task, text = PtbChar(20, 5), stripped(TEXTS["train"])
    batch = task.train_batch(seed=1, index=0, size=50)
    assert batch.inputs.shape == batch.targets.shape == (50, 20)
    assert batch.inputs.dtype == batch.targets.dtype == np.int64
    np.testing.assert_array_equal(batch.inputs[:, 1:], batch.targets[:, :-1])
    for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
        assert spelled(inputs) + spelled(targets[-1:]) in text
    assert len({row.tobytes() for row in batch.inputs}) > 10


@pytest.mark.usefixtures("corpus")
def test_training_windows_reach_both_ends_of_the_text_and_depend_on_seed_and_index_alone() -> None:
    task = PtbChar(len(stripped(TEXTS["train"])) - 3, 5)  # three places
    seen = {task.train_batch(1, index, 4).inputs[0].tobytes() for index in range(40)}
    assert len(seen) == 3
    one, same, other = (PtbChar(20, 5).train_batch(1, index, 4).inputs for index in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, PtbChar(20, 5).train_batch(2, 0, 4).inputs)


@pytest.mark.usefixtures("corpus")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.integers(1, 43),
    share=st.floats(0, 0.999),
    size=st.integers(1, 7),
    split=st.sampled_from(["validation", "test"]),
)
def test_every_character_but_the_first_is_scored_once_after_its_context(
    length: int, share: float, size: int, split: str
) -> None:
    task, text = PtbChar(length, int(share * length)), stripped(TEXTS[split])
    spoken = []
    for batch in task.batches(split, size):
        assert len(batch.inputs) <= size
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
            scored = np.flatnonzero(targets != IGNORED)
            assert list(scored) == list(range(scored[0], length))
            if spoken:  # which the first window's characters are without
                assert scored[0] >= task.context
            at = len("".join(spoken)) + 1
            assert spelled(inputs[: scored[0] + 1]) == text[at - 1 - scored[0] : at]
            spoken.append(spelled(targets[scored]))
    assert "".join(spoken) == text[1:]


@pytest.mark.usefixtures("corpus")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(1, 40), size=st.integers(1, 9), seed=st.integers(0, 3), passes=st.integers(0, 2))
def test_pieces_of_a_pass_are_streams_of_the_text_side_by_side(length: int, size: int, seed: int, passes: int) -> None:
    task, text = PtbChar(length, 0), stripped(TEXTS["train"])
    pieces = (len(text) - length) // (size * length)
    if not pieces:
        with pytest.raises(InputError, match=rf"has {len(text)} characters, too few for {size} streams of {length}"):
            task.piece(seed, 0, size)
        return
    drawn = [task.piece(seed, passes * pieces + number, size) for number in range(pieces)]
    assert [begins for _, begins in drawn] == [True] + [False] * (pieces - 1)
    inputs, targets = (
        np.concatenate([getattr(batch, part) for batch, _ in drawn], 1) for part in ("inputs", "targets")
    )
    assert inputs.shape == targets.shape == (size, pieces * length)
    begin = np.random.default_rng((seed, passes)).integers(0, len(text) - inputs.size)
    assert spelled(inputs.reshape(-1)) == text[begin : begin + inputs.size]
    assert spelled(targets.reshape(-1)) == text[begin + 1 : begin + 1 + inputs.size]
    assert len(text) - 1 - inputs.size < size * length + length  # what is left out of a pass
    again, _ = task.piece(seed, passes * pieces + pieces - 1, size)
    np.testing.assert_array_equal(again.inputs, drawn[-1][0].inputs)


def test_each_pass_begins_at_a_place_of_its_own_with_either_end_in_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PtbChar, "_text", lambda task, split: np.arange(20))
    batches = [PtbChar(3, 0).piece(1, 2 * passes, 2)[0] for passes in range(200)]
    assert {int(batch.inputs[0, 0]) for batch in batches} == set(range(8))
    last = [PtbChar(3, 0).piece(1, 2 * passes + 1, 2)[0].targets for passes in range(200)]
    assert max(int(targets[1, 2]) for targets in last) == 19


@pytest.mark.usefixtures("corpus")
@pytest.mark.parametrize("most", [1, 7, 1000])
def test_a_whole_text_is_read_once_in_order(most: int) -> None:
    pieces, text = list(PtbChar(20, 5).whole("test", most)), stripped(TEXTS["test"])
    assert all(piece.inputs.shape == piece.targets.shape and piece.inputs.shape[1] <= most for piece in pieces)
    assert spelled(np.concatenate([piece.inputs[0] for piece in pieces])) == text[:-1]
    assert spelled(np.concatenate([piece.targets[0] for piece in pieces])) == text[1:]


@pytest.mark.usefixtures("corpus")
def test_guessing_takes_the_logarithm_of_the_symbols_in_bits() -> None:
    task, score = PtbChar(10, 4), Score()
    for batch in task.batches("test", 3):
        score.add(np.zeros((*batch.targets.shape, 50), np.float32), batch)
    assert score.count == len(stripped(TEXTS["test"])) - 1
    assert task.metrics(score)["bits_per_character"] == pytest.approx(math.log2(50))


def test_no_example_of_the_corpus_travels_with_a_checkpoint() -> None:
    assert PtbChar().examples() is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a text with ~ in it " * 9, "holds '~', which is none of the 50"),
        ("é".encode() * 200, "is not the text"),
        (b"x" * 100, "has 100 characters"),
    ],
)
def test_other_texts_are_refused(content: bytes, message: str, corpus: Path) -> None:
    (corpus / "ptb.test.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        next(iter(PtbChar().batches("test", 3)))


def test_missing_text_is_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRNN_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"ptb\.train\.txt is missing") as refusal:
        PtbChar().train_batch(1, 0, 2)
    assert refusal.value.fix == "Type: drnn-deploy data fetch ptb-char"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "data.length must be a whole number from 1"),
        ({"length": "100"}, "data.length"),
        ({"length": True}, "data.length"),
        ({"context": -1}, "data.context must be a whole number from 0"),
        ({"context": 100}, "data.context must be less than data.length"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_task("ptb-char", options)


def test_real_corpus_has_the_known_size() -> None:
    try:
        datasets.folder("ptb-char")
    except InputError as missing:
        pytest.skip(f"Penn Treebank is not on this machine. {missing.fix}")
    counts = [len(PtbChar()._text(split)) for split in ("train", "validation", "test")]
    assert counts == [5_017_482, 393_042, 442_423]
