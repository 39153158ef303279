from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_deploy import data
from drnn_deploy.tasks import TASKS, Score, make_task, pixel_mnist
from drnn_deploy.tasks.copy_memory import CopyMemory
from drnn_deploy.tasks.pixel_mnist import PixelMnist, authors_permutation
from drnn_models.errors import InputError
from drnn_models.spec import Continuous, Head, Tokens

# copy memory, by its definition


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


# pixel MNIST on a data set of our own


def idx(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """23 training images, of which the last 5 are for validation, and 21 test images; image i has label i mod 10.

    In image i, pixel p has the value (7 i + p) mod 256.
    """
    folder = tmp_path / "pixel-mnist"
    folder.mkdir()
    for prefix, count in (("train", 23), ("t10k", 21)):
        images = (7 * np.arange(count)[:, None] + np.arange(784)) % 256
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images.reshape(-1, 28, 28).astype(np.uint8)))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx((np.arange(count) % 10).astype(np.uint8)))
    monkeypatch.setattr(pixel_mnist, "_VALIDATION", 5)
    monkeypatch.setattr(data, "folder", lambda name: tmp_path / name)
    return folder


def image_number(inputs: NDArray[np.generic]) -> list[int]:
    """Which image of `digits` each row is, by its first pixel."""
    inverse = pow(7, -1, 256)
    return [round(float(value) * 255) * inverse % 256 for value in inputs[:, 0, 0]]


@pytest.mark.usefixtures("digits")
def test_pixels_are_brightness_from_0_to_1_one_a_step() -> None:
    (batch,) = PixelMnist().batches("test", 100)
    assert (batch.inputs.shape, batch.inputs.dtype) == ((21, 784, 1), np.float32)
    assert (batch.targets.shape, batch.targets.dtype) == ((21,), np.int64)
    expected = ((7 * np.arange(21)[:, None] + np.arange(784)) % 256 / 255).astype(np.float32)
    np.testing.assert_array_equal(batch.inputs[:, :, 0], expected)
    np.testing.assert_array_equal(batch.targets, np.arange(21) % 10)


@pytest.mark.usefixtures("digits")
def test_every_epoch_shows_each_training_image_once_in_another_order() -> None:
    task = PixelMnist()
    epochs = []
    for epoch in range(3):
        batches = [task.train_batch(seed=1, index=3 * epoch + position, size=6) for position in range(3)]
        seen = [number for batch in batches for number in image_number(batch.inputs)]
        assert sorted(seen) == list(range(18))
        for batch in batches:
            np.testing.assert_array_equal(batch.targets, np.array(image_number(batch.inputs)) % 10)
        epochs.append(seen)
    assert all(one != other for one, other in itertools.combinations(epochs, 2))


@pytest.mark.usefixtures("digits")
def test_validation_images_are_never_trained_on() -> None:
    task = PixelMnist()
    (validation,) = task.batches("validation", 100)
    assert image_number(validation.inputs) == [18, 19, 20, 21, 22]
    trained = {n for index in range(40) for n in image_number(task.train_batch(5, index, 4).inputs)}
    assert trained == set(range(18))


@pytest.mark.usefixtures("digits")
def test_pixel_batches_depend_on_seed_and_index_alone() -> None:
    one = PixelMnist().train_batch(3, 7, 4)
    PixelMnist().train_batch(4, 8, 4)
    np.testing.assert_array_equal(one.inputs, PixelMnist().train_batch(3, 7, 4).inputs)
    assert not np.array_equal(one.inputs, PixelMnist().train_batch(4, 7, 4).inputs)


@pytest.mark.usefixtures("digits")
def test_permutation_shows_the_same_pixels_in_the_authors_order() -> None:
    (plain,), (permuted,) = (PixelMnist(flag).batches("test", 100) for flag in (False, True))
    np.testing.assert_array_equal(permuted.inputs, plain.inputs[:, authors_permutation()])
    np.testing.assert_array_equal(permuted.inputs[:, :4], plain.inputs[:, [319, 576, 323, 107]])
    np.testing.assert_array_equal(permuted.targets, plain.targets)
    assert "permutation" in PixelMnist(True).examples().source
    assert "permutation" not in PixelMnist().examples().source


def test_authors_permutation_begins_as_theirs_and_loses_no_pixel() -> None:
    assert authors_permutation()[:4].tolist() == [319, 576, 323, 107]
    assert sorted(authors_permutation()) == list(range(784))


@pytest.mark.usefixtures("digits")
def test_pixel_examples_are_the_first_twenty_test_images() -> None:
    examples = PixelMnist().examples()
    assert image_number(examples.inputs) == list(range(20))
    assert examples.targets.tolist() == [*range(10), *range(10)]


def test_pixel_mnist_fits_the_paper() -> None:
    task = PixelMnist()
    assert (task.length, task.classes, task.input, task.head) == (784, 10, Continuous(1), Head("last", 10))


@pytest.mark.usefixtures("digits")
def test_batch_larger_than_the_training_set_is_refused() -> None:
    assert len(PixelMnist().train_batch(1, 0, 18).inputs) == 18
    with pytest.raises(InputError, match=r"training\.batch must be at most 18"):
        PixelMnist().train_batch(1, 0, 19)


IMAGES = idx(np.zeros((23, 28, 28), np.uint8))


@pytest.mark.parametrize("content", [
    b"",
    IMAGES[:3],
    IMAGES[:16],
    IMAGES[:-1],
    IMAGES + b"\0",
    b"\0\0\x09\3" + IMAGES[4:],
    b"\1" + IMAGES[1:],
    idx(np.zeros((23, 28), np.uint8)),
    idx(np.zeros((23, 27, 28), np.uint8)),
    idx(np.zeros(23, np.uint8)),
    IMAGES[:4] + b"\xff" * 12 + IMAGES[16:],
], ids=["empty", "cut in the type", "cut after the head", "a byte short", "a byte long", "signed bytes", "no IDX",
        "two axes", "27 rows", "labels", "sizes of 4 billion"])  # fmt: skip
def test_damaged_images_are_refused_with_the_way_to_get_them(digits: Path, content: bytes) -> None:
    (digits / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(InputError, match="train-images-idx3-ubyte is not the MNIST file it should be") as refusal:
        PixelMnist().train_batch(1, 0, 2)
    assert refusal.value.fix == "Type: drnn-deploy data fetch pixel-mnist"


def test_damaged_labels_are_refused(digits: Path) -> None:
    (digits / "t10k-labels-idx1-ubyte").write_bytes(IMAGES)
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte is not the MNIST file"):
        next(PixelMnist().batches("test", 5))


def test_missing_data_set_is_one_message_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRNN_DATA", str(tmp_path))
    with pytest.raises(InputError, match="not complete in") as refusal:
        PixelMnist().train_batch(1, 0, 2)
    assert "drnn-deploy data fetch pixel-mnist" in refusal.value.fix


@pytest.mark.parametrize("permuted", ["yes", 1, None, []])
def test_permuted_must_be_true_or_false(permuted: object) -> None:
    with pytest.raises(InputError, match=r"data\.permuted must be true or false"):
        make_task("pixel-mnist", {"permuted": permuted})


# tasks by name


def test_unknown_task_is_refused_with_those_that_are() -> None:
    for name in ("mnist", "", ["copy-memory"], None):
        with pytest.raises(InputError, match="there is no task") as refusal:
            make_task(name, {})  # type: ignore[arg-type]
        assert refusal.value.fix == "Choose one of: copy-memory, pixel-mnist."


@pytest.mark.parametrize("name", TASKS)
def test_unknown_option_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(InputError, match="has no option 'sped'") as refusal:
        make_task(name, {"sped": 1})
    assert refusal.value.fix in ("It has: delay.", "It has: permuted.")
    with pytest.raises(InputError, match="has no option 'name'"):
        make_task(name, {"name": "other"})


@pytest.mark.parametrize("options", [5, "delay", None, ["delay"]])
def test_options_must_be_a_table(options: object) -> None:
    with pytest.raises(InputError, match="must be a table"):
        make_task("copy-memory", options)  # type: ignore[arg-type]


# the score


def test_score_is_the_cross_entropy_computed_by_hand() -> None:
    score = Score()
    score.add(np.log([[1.0, 3.0], [1.0, 1.0]]), np.array([1, 0]))  # probabilities 3/4 and 1/2
    score.add(np.log([[[8.0, 1.0], [1.0, 9.0]]]), np.array([[1, 1]]))  # 1/9 and 9/10
    metrics = score.metrics()
    expected = -(math.log(3 / 4) + math.log(1 / 2) + math.log(1 / 9) + math.log(9 / 10)) / 4
    assert metrics["cross_entropy"] == pytest.approx(expected, rel=1e-14)
    assert metrics["accuracy"] == 3 / 4  # a tie counts as the first class


def test_guessing_scores_the_logarithm_of_the_classes() -> None:
    score, task = Score(), CopyMemory(5)
    for batch in task.batches("test", 100):
        score.add(np.zeros((*batch.targets.shape, task.classes), np.float32), batch.targets)
    assert score.count == 10_240
    assert score.metrics()["cross_entropy"] == pytest.approx(math.log(8))
    assert score.metrics()["accuracy"] == pytest.approx(1 / 8, abs=0.02)


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4, 3e38])
def test_score_of_large_logits_neither_overflows_nor_changes(offset: float) -> None:
    score = Score()
    score.add(np.array([[offset, offset]], np.float32), np.array([0]))
    assert score.metrics()["cross_entropy"] == pytest.approx(math.log(2))


@given(st.integers(1, 30), st.integers(1, 30))
def test_score_does_not_depend_on_the_batches(count: int, size: int) -> None:
    random = np.random.default_rng(count)
    outputs, targets = random.standard_normal((count, 4)), random.integers(0, 4, count)
    whole, parts = Score(), Score()
    whole.add(outputs, targets)
    for start in range(0, count, size):
        parts.add(outputs[start : start + size], targets[start : start + size])
    assert parts.metrics() == pytest.approx(whole.metrics())
