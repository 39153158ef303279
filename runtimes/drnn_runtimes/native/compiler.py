"""The C compiler of this machine, and libraries that it made before."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

from drnn_core.cache import cache_folder, shrink, touch
from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.files import replacing
from drnn_core.types import Availability

KERNEL = ("drnn.h", "drnn_cell.h")  # its sources
_SHARED = ("-march=native", "-shared", "-fPIC", "-fvisibility=hidden", "-w")
_FLAGS = ("-std=c11", "-O2", "-DDRNN_NATIVE", *_SHARED)
_TRAINING_FLAGS = ("-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", *_SHARED)  # its loops become vectors
_SECONDS = 120.0
_FIX = "Install a C compiler: apt install gcc, or pip install ziglang; CC=NAME chooses one."


def compiler() -> list[str]:
    """The command of the C compiler: `$CC`, else cc, gcc or clang, else that of the package ziglang, else nothing."""
    chosen = os.environ.get("CC", "")
    for name, *options in _words(chosen) if chosen else [["cc"], ["gcc"], ["clang"]]:
        if path := shutil.which(name):
            return [path, *options]
    return [] if chosen or importlib.util.find_spec("ziglang") is None else [sys.executable, "-m", "ziglang", "cc"]


def _words(chosen: str) -> list[list[str]]:
    """What `$CC` may mean: a program, also one with spaces in its path; or one with options, or a cache before it."""
    try:
        return [[chosen], *filter(None, [shlex.split(chosen, posix=os.name != "nt")])]
    except ValueError:  # of a quote that is not closed
        return [[chosen]]


def compiler_availability() -> Availability:
    """Whether there is a compiler for this machine's processor."""
    machine = platform.machine().lower()
    if machine not in ("x86_64", "amd64", "aarch64", "arm64"):
        return Availability(False, f"drnn.h is written for x86-64 and aarch64, this is {machine}", "")
    command = compiler()
    if not command:
        return Availability(False, "there is no C compiler", _FIX)
    return Availability(True, f"{' '.join(map(os.path.basename, command))}, {machine}")


@functools.cache
def load_library(cell: str, *, narrow: bool = False) -> ctypes.CDLL:
    """Compile `library.c` for a cell, or take what the same compiler made of the same sources for such a processor.

    Args:
        cell: Its name in `drnn.h`.
        narrow: Whether its weights are int8.

    Returns:
        The loaded library.

    Raises:
        RuntimeUnavailableError: There is no compiler, it fails, or what it makes cannot be loaded.
    """
    return _load((*KERNEL, "library.c"), (*_FLAGS, f"-DDRNN_CELL={cell}", *(["-DDRNN_INT8"] if narrow else [])))


@functools.cache
def load_recurrence() -> ctypes.CDLL:
    """Compile `recurrence.c`, or take what was made of it before, as `load_library` does.

    Returns:
        The loaded library.

    Raises:
        RuntimeUnavailableError: There is no compiler, it fails, or what it makes cannot be loaded.
    """
    library = _load(("recurrence.c",), _TRAINING_FLAGS)
    library.recurrence_scratch.restype = ctypes.c_size_t
    return library


def _load(names: tuple[str, ...], flags: tuple[str, ...]) -> ctypes.CDLL:
    """The library of these sources, of which the last one is compiled."""
    command = compiler()
    if not command:
        raise RuntimeUnavailableError("native: there is no C compiler", _FIX)
    sources = {name: (resources.files(__package__) / name).read_text(encoding="utf-8") for name in names}
    command = [*command, *flags]
    key = "\0".join([*sources.values(), *command, _target(*command)])
    cached = cache_folder("native") / f"{hashlib.sha256(key.encode()).hexdigest()}.so"
    with contextlib.suppress(OSError):  # it is not there, or damaged
        library = ctypes.CDLL(str(cached))
        touch(cached)
        return library
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            made = _compile(command, sources, Path(folder))
            library = ctypes.CDLL(str(made))
            with contextlib.suppress(InputError), replacing(cached) as file:  # the next process compiles again
                shutil.copyfile(made, file)
    except OSError as error:  # or there is no room for it
        raise RuntimeUnavailableError(f"native: what {command[0]} makes cannot be loaded: {error}", _FIX) from error
    shrink(cached.parent, "native")
    return library


def _compile(command: list[str], sources: dict[str, str], folder: Path) -> Path:
    """Compile sources in an empty folder; the path of the library."""
    library = folder / "library.so"
    for name, text in sources.items():
        (folder / name).write_text(text, encoding="utf-8")
    done = _run([*command, "-o", str(library), str(folder / list(sources)[-1])])
    if done.returncode:
        raise RuntimeUnavailableError(
            f"native: {command[0]} cannot compile the kernel: {first_error(done.stderr)}", _FIX
        )
    return library


def first_error(said: str) -> str:
    """The line of a compiler's messages that says what is wrong."""
    return next((line for line in said.splitlines() if "error" in line), said[:200])


@functools.cache
def _target(*command: str) -> str:
    """The compiler's version, and what it may use of the processor: every macro that it defines by itself."""
    return _run([*command, "-dM", "-E", "-x", "c", os.devnull]).stdout


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnavailableError(f"native: {command[0]} does not work: {error}", _FIX) from None
