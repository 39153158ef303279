from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_deploy import datasets
from drnn_deploy.tasks import make_task, pixel_mnist
from drnn_deploy.tasks.pixel_mnist import PixelMnist, authors_permutation
from drnn_models.spec import Continuous, Head


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
    monkeypatch.setattr(datasets, "folder", lambda name: tmp_path / name)
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


@pytest.mark.usefixtures("digits")
def test_noise_follows_the_pixels_and_is_new_in_every_training_batch() -> None:
    task = PixelMnist(padded_to=1000)
    assert task.length == 1000
    one, same, other = task.train_batch(1, 0, 6), task.train_batch(1, 0, 6), task.train_batch(1, 3, 6)  # 3: next epoch
    plain = PixelMnist().train_batch(1, 0, 6)
    np.testing.assert_array_equal(one.inputs[:, :784], plain.inputs)
    np.testing.assert_array_equal(one.inputs, same.inputs)
    noise = np.concatenate([one.inputs[:, 784:], other.inputs[:, 784:]])
    assert one.inputs.dtype == np.float32
    assert len(np.unique(noise)) > 0.99 * noise.size
    assert 0 <= noise.min() < 0.01
    assert 0.99 < noise.max() < 1
    assert noise.mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("size", [1, 4, 21])
def test_noise_of_a_split_belongs_to_the_image_and_not_to_the_batch(size: int) -> None:
    task = PixelMnist(padded_to=800)
    for split, count in (("validation", 5), ("test", 21)):
        whole = next(task.batches(split, count)).inputs
        np.testing.assert_array_equal(np.concatenate([b.inputs for b in task.batches(split, size)]), whole)
        assert len(np.unique(whole[:, 784:])) > 0.99 * whole[:, 784:].size
    noise = {split: next(task.batches(split, 5)).inputs[:, 784:] for split in ("validation", "test")}
    assert not np.any(noise["validation"] == noise["test"])
    assert task.examples().source.endswith("then noise to 800 steps")


@pytest.mark.parametrize("steps", [783, -1, 1_000_001, 1000.0, "1000", True, None])
def test_padded_to_must_hold_the_pixels(steps: object) -> None:
    with pytest.raises(InputError, match=r"data\.padded_to must be a whole number from 784 to 1000000"):
        make_task("pixel-mnist", {"padded_to": steps})
