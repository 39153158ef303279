from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_deploy.tasks import make_task
from drnn_deploy.tasks.copy_memory import CopyMemory
from drnn_models.spec import Head, Tokens


@pytest.mark.parametrize("delay", [1, 2, 5, 30])
def test_copy_memory_is_ten_digits_then_blanks_then_eleven_markers(delay: int) -> None:
    task = CopyMemory(delay)
    batch = task.train_batch(seed=1, index=0, size=6)
    assert batch.inputs.shape == (6, task.length) == (6, delay + 20)
    assert batch.inputs.dtype == batch.targets.dtype == np.int64
    digits, blanks, markers = np.split(batch.inputs, [10, 10 + delay - 1], axis=1)
    assert set(digits.flat) <= set(range(8))
    assert (blanks.shape[1], set(blanks.flat)) == (delay - 1, {8} if delay > 1 else set())
    assert (markers.shape[1], set(markers.flat)) == (11, {9})
    np.testing.assert_array_equal(batch.targets, digits)


def test_copy_memory_asks_for_the_digits_over_the_last_ten_steps() -> None:
    task = CopyMemory(500)
    assert (task.length, task.classes) == (520, 8)
    assert task.input == Tokens(10)
    assert task.head == Head("last_k", 8, 10)


def test_copy_memory_draws_all_digits_alike() -> None:
    counts = np.bincount(CopyMemory(1).train_batch(1, 0, 5000).targets.ravel(), minlength=8)
    assert counts.shape == (8,)
    np.testing.assert_allclose(counts / 50_000, 1 / 8, atol=0.01)


def sequences(*batches: NDArray[np.int64]) -> set[bytes]:
    return {row.tobytes() for batch in batches for row in batch}


@pytest.mark.parametrize("seed", [0, 1, 2, 256, 512, (1 << 32) - 1])
def test_copy_memory_trains_on_nothing_that_it_is_measured_on(seed: int) -> None:
    task = CopyMemory(1)
    training = sequences(*(task.train_batch(seed, index, 8).targets for index in range(1100)))
    validation, test = (sequences(*(b.targets for b in task.batches(s, 500))) for s in ("validation", "test"))
    assert len(training) == 8800
    assert len(validation) == len(test) == 1024
    assert not training & validation
    assert not training & test
    assert not validation & test


@given(st.integers(1, 1100))
def test_copy_memory_splits_are_the_same_in_batches_of_any_size(size: int) -> None:
    task = CopyMemory(2)
    whole = next(iter(task.batches("test", 1024)))
    parts = list(task.batches("test", size))
    np.testing.assert_array_equal(np.concatenate([part.inputs for part in parts]), whole.inputs)
    np.testing.assert_array_equal(np.concatenate([part.targets for part in parts]), whole.targets)
    assert all(len(part.inputs) == size for part in parts[:-1])


@given(st.integers(0, 2**32 - 1), st.integers(0, 10**6), st.integers(1, 20))
def test_copy_memory_batches_depend_on_seed_and_index_alone(seed: int, index: int, size: int) -> None:
    one, other = CopyMemory(3).train_batch(seed, index, size), CopyMemory(3).train_batch(seed, index, size)
    np.testing.assert_array_equal(one.inputs, other.inputs)
    for changed in ((seed, index + 1), ((seed + 1) % (1 << 32), index)):
        assert not np.array_equal(one.inputs, CopyMemory(3).train_batch(*changed, size).inputs)


def test_examples_are_the_first_of_the_test_split() -> None:
    task = CopyMemory(4)
    first = next(iter(task.batches("test", 500)))
    np.testing.assert_array_equal(task.examples().inputs, first.inputs[:20])
    np.testing.assert_array_equal(task.examples().targets, first.targets[:20])
    assert "copy memory, delay 4, test split" in task.examples().source


@pytest.mark.parametrize("delay", [0, -1, 1_000_001, 2.0, "5", True, None])
def test_delay_must_be_a_whole_number(delay: object) -> None:
    with pytest.raises(InputError, match=r"data\.delay must be a whole number from 1 to 1000000"):
        make_task("copy-memory", {"delay": delay})
