"""Options of the speaker task: MFCC, VCTK, and those that are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drnn_core.errors import InputError
from drnn_deploy.tasks import make_task
from drnn_deploy.tasks.speaker_id import SpeakerId
from drnn_deploy.training.recipe import load_recipe
from drnn_models.spec import Continuous, Head
from tests.drnn_deploy.datasets.helpers import put
from tests.drnn_deploy.datasets.sounds import fsdd_files, sine, vctk_tree, wav

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
