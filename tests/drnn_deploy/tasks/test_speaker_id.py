"""Speakers from the Free Spoken Digit Dataset: windows, splits, noise, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_deploy import datasets
from drnn_deploy.tasks import Score
from drnn_deploy.tasks.speaker_id import SpeakerId
from tests.drnn_deploy.datasets.sounds import fsdd_archive, fsdd_files

WINDOW = 30  # recordings hold 20 to 67 samples: shorter and longer ones


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings of `sounds.fsdd_files`: 24 to train, 12 each to validate and to test."""
    return fsdd_archive(tmp_path_factory.mktemp("data sets") / "speaker-id" / "fsdd.tar.gz", fsdd_files()).parent.parent


@pytest.fixture
def fsdd(archive: Path, monkeypatch: pytest.MonkeyPatch) -> SpeakerId:
    monkeypatch.setattr(datasets, "folder", lambda name: archive / name)
    return SpeakerId(window=WINDOW)


def heard(row: NDArray[np.generic]) -> list[int]:
    """The samples of `fsdd_files` in a window, whatever its level: its ratios tell; they rise by one a step."""
    values = row[:, 0].astype(np.float64)
    sound = values[np.count_nonzero(values == 0) :]
    step = (sound[-1] - sound[0]) / (len(sound) - 1)
    first = round(sound[0] / step)
    np.testing.assert_allclose(sound / step, np.arange(first, first + len(sound)), rtol=1e-3)
    return list(range(first, first + len(sound)))


def recording_number(row: NDArray[np.generic]) -> int:
    """Which recording of `fsdd_files` a window is from; that it is from one only."""
    samples = heard(row)
    number = samples[0] // 100
    assert 100 * number < samples[0] and samples[-1] <= 100 * number + 20 + number
    return number


TRAINING, VALIDATION, TEST = range(24, 48), range(12, 24), range(12)


def test_training_windows_are_pieces_of_training_recordings_of_the_right_speaker(fsdd: SpeakerId) -> None:
    seen, starts = set(), set()
    for index in range(40):
        batch = fsdd.train_batch(1, index, 16)
        assert (batch.inputs.shape, batch.inputs.dtype) == ((16, WINDOW, 1), np.float32)
        assert (batch.targets.shape, batch.targets.dtype, batch.groups) == ((16,), np.int64, None)
        for row, target in zip(batch.inputs, batch.targets, strict=True):
            number = recording_number(row)
            assert number % 6 == target
            assert len(heard(row)) == min(WINDOW, 20 + number)
            seen.add(number)
            starts.add(heard(row)[0] % 100 if number == 47 else 1)
    assert seen == set(TRAINING)
    assert starts <= set(range(1, 67 - WINDOW + 2)) and len(starts) > 10  # many places, all within


@pytest.mark.parametrize(("split", "numbers"), [("validation", VALIDATION), ("test", TEST)])
@pytest.mark.parametrize("window", [7, 25, WINDOW, 1000])
def test_a_split_is_every_sample_of_every_recording_once_or_again_at_its_end(
    split: str, numbers: range, window: int, fsdd: SpeakerId
) -> None:
    (batch,) = SpeakerId(window=window).batches(split, 10_000)
    assert batch.groups is not None
    found: dict[int, list[int]] = {}
    for row, target, group in zip(batch.inputs, batch.targets, batch.groups.tolist(), strict=True):
        number = recording_number(row)
        assert number == numbers[group]  # a group is one recording
        assert number % 6 == target
        found.setdefault(number, []).extend(heard(row))
    assert list(found) == list(numbers)
    for number, samples in found.items():
        assert sorted(set(samples)) == list(range(100 * number + 1, 100 * number + 21 + number))
        assert len(samples) - len(set(samples)) < window


def test_short_recordings_have_zeros_in_front_so_that_the_last_step_is_sound(fsdd: SpeakerId) -> None:
    (batch,) = fsdd.batches("test", 100)
    row = batch.inputs[0, :, 0]  # recording 0 has 20 samples
    assert not row[: WINDOW - 20].any()
    assert row[WINDOW - 20 :].all()


def test_windows_are_at_unit_level(fsdd: SpeakerId) -> None:
    (batch,) = fsdd.batches("test", 100)
    # Recording 0 is quieter than -60 dB of full scale and stays below the others.
    level = np.sqrt(np.mean(np.square(batch.inputs[:, :, 0]), axis=1))
    assert level[0] < 0.5
    np.testing.assert_allclose(level[1:], 1, rtol=1e-5)


@pytest.mark.parametrize("features", ["raw", "mfcc"])
@pytest.mark.parametrize("size", [1, 5, 12, 19])
def test_any_size_of_batches_gives_the_same_split(size: int, features: str, fsdd: SpeakerId) -> None:
    task = SpeakerId(window=WINDOW if features == "raw" else 256, features=features)  # type: ignore[arg-type]
    (whole,) = task.batches("validation", 10_000)
    parts = list(task.batches("validation", size))
    assert [len(part.inputs) for part in parts[:-1]] == [size] * (len(parts) - 1)
    for field in ("inputs", "targets", "groups"):
        np.testing.assert_array_equal(
            np.concatenate([getattr(part, field) for part in parts]), getattr(whole, field), strict=True
        )


@pytest.mark.parametrize("features", ["raw", "mfcc"])
def test_a_batch_depends_on_seed_and_index_alone(features: str, fsdd: SpeakerId) -> None:
    task = SpeakerId(window=WINDOW if features == "raw" else 256, features=features)  # type: ignore[arg-type]
    one = task.train_batch(3, 7, 8)
    task.train_batch(4, 8, 5)
    list(task.batches("test", 3))
    again = task.train_batch(3, 7, 8)
    np.testing.assert_array_equal(one.inputs, again.inputs)
    np.testing.assert_array_equal(one.targets, again.targets)
    for seed, index in ((4, 7), (3, 8)):
        assert not np.array_equal(one.inputs, task.train_batch(seed, index, 8).inputs)


@given(st.integers(0, 2**32 - 1), st.integers(0, 10**9), st.integers(1, 9))
def test_any_seed_and_index_give_a_batch(archive: Path, seed: int, index: int, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "folder", lambda name: archive / name)
        batch = SpeakerId(window=40).train_batch(seed, index, size)
    assert batch.inputs.shape == (size, 40, 1)
    assert {recording_number(row) for row in batch.inputs} <= set(TRAINING)


def test_recordings_are_judged_by_their_windows_together(fsdd: SpeakerId) -> None:
    score = Score()
    for batch in fsdd.batches("test", 4):
        outputs = np.zeros((len(batch.inputs), 6))
        outputs[np.arange(len(outputs)), batch.targets] = 1.0
        score.add(outputs, batch)
    metrics = fsdd.metrics(score)
    assert set(metrics) == {"accuracy", "cross_entropy", "recording_accuracy"}
    assert (metrics["accuracy"], metrics["recording_accuracy"]) == (1.0, 1.0)
    assert len(score.groups) == 12
    assert "recording_accuracy" not in fsdd.metrics(Score(1.0, 1, 1))


def test_examples_name_their_authors_and_licence(fsdd: SpeakerId) -> None:
    task = SpeakerId(window=15)
    examples = task.examples()
    assert examples is not None
    assert examples.inputs.shape == (20, 15, 1)
    (batch,) = task.batches("test", 100)
    np.testing.assert_array_equal(examples.inputs, batch.inputs[:20])
    np.testing.assert_array_equal(examples.targets, batch.targets[:20])
    for word in ("Free Spoken Digit Dataset", "Z. Jackson et al.", "CC BY-SA 4.0", "first 20 ", "15 samples at 8000"):
        assert word in examples.source
    assert "waveform" in examples.source
    mfcc = SpeakerId(window=256, features="mfcc").examples()
    assert mfcc is not None and "MFCC" in mfcc.source and "first 12 " in mfcc.source


def test_the_harder_set_has_the_same_recordings_with_noise(fsdd: SpeakerId) -> None:
    harder = SpeakerId(window=WINDOW, snr_db=-5.0)
    for split in ("validation", "test"):
        for clean, noisy in zip(fsdd.batches(split, 7), harder.batches(split, 7), strict=True):
            np.testing.assert_array_equal(clean.targets, noisy.targets)
            assert clean.inputs.shape == noisy.inputs.shape
            assert not np.allclose(clean.inputs, noisy.inputs, atol=0.1)
    assert "disturbed to a signal-to-noise ratio of -5 dB" in harder.examples().source  # type: ignore[union-attr]


def test_augmentation_disturbs_training_recordings_anew_and_leaves_the_others(fsdd: SpeakerId) -> None:
    harder, augmented = (SpeakerId(window=WINDOW, snr_db=-5.0, augment=value) for value in (False, True))
    for split in ("validation", "test"):
        for once, again in zip(harder.batches(split, 7), augmented.batches(split, 7), strict=True):
            np.testing.assert_array_equal(once.inputs, again.inputs)
    first, second = (augmented.train_batch(3, 0, 64) for _ in range(2))
    np.testing.assert_array_equal(first.inputs, second.inputs)  # by seed and index alone
    np.testing.assert_array_equal(first.targets, harder.train_batch(3, 0, 64).targets)
    numbers = np.random.default_rng((3, 0)).integers(0, len(augmented.recordings().splits["training"]), 64)
    number, row, other = next(
        (number, *np.flatnonzero(numbers == number)[:2]) for number in numbers if np.sum(numbers == number) > 1
    )
    assert not np.allclose(first.inputs[row], first.inputs[other], atol=0.1)  # one recording, drawn twice
    held = augmented.redisturbed(int(number), np.random.default_rng(0))
    assert (held.name, held.speaker) == (
        fsdd.recordings().splits["training"][number].name, first.targets[row]
    )  # fmt: skip
