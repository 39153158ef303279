from __future__ import annotations

from pathlib import Path

import pytest

from drnn_core.errors import InputError
from drnn_deploy.training.agenda import load_agenda
from drnn_zoo import agenda_names, experiment_names


def names(*asked: str, runs: tuple[str, ...] = ()) -> list[str]:
    return [item.name for item in load_agenda(asked, runs)]


def test_the_gpus_agenda_is_in_the_order_of_worth_and_what_takes_anothers_time_is_last() -> None:
    assert names("gpu") == [
        "ptb-char-256/dilated-gru", "ptb-char-256/plain-gru",
        "permuted-mnist-50/dilated-rnn", "permuted-mnist-50/dilated-gru", "permuted-mnist-50/dilated-lstm",
        "noisy-mnist-2000/dilated-rnn",
        "copy-memory-500/plain-gru", "copy-memory-1000/plain-gru",
        "noisy-mnist-2000/plain-rnn",
    ]  # fmt: skip


@pytest.mark.parametrize("name", agenda_names())
def test_agendas_that_ship_name_runs_that_are_there_and_are_no_experiments(name: str) -> None:
    assert names(name)
    assert name not in experiment_names()


def test_runs_of_several_experiments_in_the_order_that_was_typed_each_once() -> None:
    assert names("speaker-id/mfcc-gru", "copy-memory-500/plain-gru", "speaker-id/mfcc-gru") == [
        "speaker-id/mfcc-gru", "copy-memory-500/plain-gru",
    ]  # fmt: skip
    assert names("speaker-noisy")[0] == "speaker-noisy/averaged-spectrum"
    assert names("start-dilation", runs=("first-4",)) == ["start-dilation/first-4"]


@pytest.mark.parametrize("asked, runs, says", [
    (("nothing",), (), "no experiment 'nothing'"),
    (("nothing/rnn",), (), "no experiment 'nothing'"),
    (("start-dilation/first-3",), (), "no run 'first-3'"),
    (("start-dilation",), ("first-3",), "no run 'first-3'"),
    (("start-dilation", "pixel-mnist"), ("first-1",), "--run is for one experiment"),
])  # fmt: skip
def test_what_is_not_there_is_refused(asked: tuple[str, ...], runs: tuple[str, ...], says: str) -> None:
    with pytest.raises(InputError, match=says):
        names(*asked, runs=runs)


def test_a_file_is_its_path(tmp_path: Path) -> None:
    text = 'task = "copy-memory"\ntitle = "t"\nmetric = "accuracy"\n[runs]\na = ["seed=1"]\nb = ["seed=2"]'
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    assert names(str(tmp_path / "x.toml")) == ["x/a", "x/b"]


def test_two_files_of_one_name_are_refused_where_they_differ(tmp_path: Path) -> None:
    text = 'task = "copy-memory"\ntitle = "t"\nmetric = "accuracy"\n[runs]\na = ["seed=1"]'
    files = [tmp_path / folder / "x.toml" for folder in "ab"]
    for file in files:
        file.parent.mkdir()
        file.write_text(text, encoding="utf-8")
    assert names(*map(str, files)) == ["x/a"]
    files[1].write_text(text.replace("seed=1", "seed=2"), encoding="utf-8")
    with pytest.raises(InputError, match="are both experiment x"):
        names(*map(str, files))
