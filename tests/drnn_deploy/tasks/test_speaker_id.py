from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_deploy import datasets
from drnn_deploy.tasks import Score, make_task
from drnn_deploy.tasks.speaker_id import SpeakerId
from drnn_deploy.training.recipe import load_recipe
from drnn_models.spec import Continuous, Head
from tests.drnn_deploy.datasets.helpers import put
from tests.drnn_deploy.datasets.sounds import fsdd_archive, fsdd_files, sine, vctk_tree, wav

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


# MFCC


def test_mfccs_have_mean_0_and_deviation_1_over_the_training_recordings(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    put(tmp_path, {name: wav(random.uniform(-0.1, 0.1, 800)) for name in fsdd_files()})
    task = SpeakerId(features="mfcc", window=800, path=str(tmp_path))
    assert (task.length, task.input) == (7, Continuous(13))
    drawn = np.concatenate([task.train_batch(0, index, 64).inputs for index in range(8)])
    assert drawn.shape == (512, 7, 13)
    rows = np.unique(drawn, axis=0)  # a window is as long as a recording, so each recording is one row
    assert len(rows) == 24
    np.testing.assert_allclose(rows.mean(axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(rows.std(axis=(0, 1)), 1, atol=1e-4)


def test_mfccs_of_a_split_are_scaled_by_the_training_recordings_alone(tmp_path: Path) -> None:
    """Two folders with the same training recordings: what else is in them changes nothing of a test window."""
    random = np.random.default_rng(0)
    sounds = {name: wav(random.uniform(-0.1, 0.1, 800)) for name in fsdd_files()}
    other = {name: wav(sine(300, 8000, 800)) if "_5." in name else sound for name, sound in sounds.items()}
    tasks = []
    for folder, files in (("one", sounds), ("other", other)):
        put(tmp_path / folder, files)
        tasks.append(SpeakerId(features="mfcc", window=800, path=str(tmp_path / folder)))
    (one,), (two,) = (task.batches("test", 100) for task in tasks)
    np.testing.assert_array_equal(one.inputs, two.inputs)


def test_silence_gives_finite_mfccs(tmp_path: Path) -> None:
    put(tmp_path, {name: wav(np.zeros(300)) for name in fsdd_files()})
    batch = SpeakerId(features="mfcc", window=400, path=str(tmp_path)).train_batch(0, 0, 4)
    assert np.isfinite(batch.inputs).all()


# VCTK


@pytest.mark.parametrize("flac", [True, False])
def test_vctk_counts_its_speakers_and_tells_them_apart(flac: bool, tmp_path: Path) -> None:
    task = SpeakerId(corpus="vctk", path=str(vctk_tree(tmp_path, flac=flac)), window=800)
    assert (task.classes, task.head, task.input, task.length) == (2, Head("last", 2), Continuous(1), 800)
    batches = [task.train_batch(0, index, 16) for index in range(3)]
    batches += [*task.batches("validation", 7), *task.batches("test", 7)]
    for batch in batches:
        for row, target in zip(batch.inputs[:, :, 0], batch.targets, strict=True):
            hertz = np.argmax(np.abs(np.fft.rfft(row))) * 10  # bins of 8000 / 800 Hz
            assert hertz == (440, 660)[target]
    assert {target for batch in batches[:3] for target in batch.targets.tolist()} == {0, 1}


def test_vctk_gives_no_examples_away(tmp_path: Path) -> None:
    assert SpeakerId(corpus="vctk", path=str(vctk_tree(tmp_path))).examples() is None


def test_training_reads_only_the_files_that_it_draws(tmp_path: Path) -> None:
    vctk_tree(tmp_path)
    task = SpeakerId(corpus="vctk", path=str(tmp_path), window=100)
    for split in ("validation", "test"):
        for recording in task.recordings().splits[split]:  # type: ignore[index]
            Path(recording.name).unlink()
    assert task.train_batch(0, 0, 8).inputs.shape == (8, 100, 1)
    with pytest.raises(InputError, match=r"p225_010\.wav is not a file"):
        next(task.batches("test", 1))


def test_vctk_lies_beside_the_data_sets_where_no_path_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRNN_DATA", str(tmp_path))
    with pytest.raises(InputError, match=f"there is no VCTK corpus in {tmp_path / 'vctk'}"):
        _ = SpeakerId(corpus="vctk").head
    vctk_tree(tmp_path / "vctk")
    assert SpeakerId(corpus="vctk").classes == 2


# Options and missing data


def test_the_task_is_described_without_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRNN_DATA", str(tmp_path / "nowhere"))
    task = make_task("speaker-id", {})
    assert (task.length, task.classes, task.input, task.head) == (2000, 6, Continuous(1), Head("last", 6))
    recipe = load_recipe("speaker-id")
    assert (recipe.spec.head, recipe.spec.input) == (task.head, task.input)
    with pytest.raises(InputError, match="the data set speaker-id is not complete") as refusal:
        task.train_batch(0, 0, 1)
    assert "bring fsdd.tar.gz and type: drnn-deploy data fetch speaker-id --from FILE_OR_DIR" in refusal.value.fix


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corpus": "timit"}, r"data\.corpus must be fsdd or vctk, got 'timit'"),
        ({"corpus": ["fsdd"]}, r"data\.corpus must be fsdd or vctk"),
        ({"features": "spectrum"}, r"data\.features must be raw or mfcc, got 'spectrum'"),
        ({"rate": 1999}, r"data\.rate must be a whole number from 2000 to 192000 \(Hz\), got 1999"),
        ({"rate": 8000.0}, r"data\.rate must be a whole number"),
        ({"window": 0}, r"data\.window must be a whole number from 1 to 1000000, got 0"),
        ({"window": True}, r"data\.window must be a whole number"),
        ({"window": 255, "features": "mfcc"}, r"data\.window must be a whole number from 256 to 1000000, got 255"),
        ({"path": 5}, r"data\.path must be the name of a folder, got 5"),
        ({"path": "a\0b"}, r"data\.path must be the name of a folder"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_task("speaker-id", options)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.path: .*nowhere is not a folder"):
        SpeakerId(path=str(tmp_path / "nowhere")).train_batch(0, 0, 1)


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


@pytest.mark.parametrize("options, says", [
    ({"augment": 1, "snr_db": 5}, "data.augment must be true or false"),
    ({"augment": True}, "data.augment draws noise anew, and there is none"),
    ({"snr_db": "loud"}, "data.snr_db must be a number"),
    ({"snr_db": float("nan")}, "data.snr_db must be a number"),
    ({"snr_db": True}, "data.snr_db must be a number"),
    ({"snr_db": 5, "corpus": "vctk"}, "data.snr_db is for corpus fsdd"),
])  # fmt: skip
def test_levels_that_are_none_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_task("speaker-id", options)
