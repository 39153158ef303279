"""Compiles the C sources of a network for another system, with the package ziglang."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from drnn_core.cache import cache_folder, shrink
from drnn_core.errors import EngineError, InputError, RuntimeUnavailableError
from drnn_core.text import choose_from
from drnn_runtimes.native.compiler import first_error

TARGETS = ("aarch64-linux-gnu", "aarch64-linux-musl", "x86_64-linux-gnu", "x86_64-linux-musl")
_FLAGS = ("-std=c11", "-O3", "-g0", "-fPIC", "-w")
_SECONDS = 600.0
_ENTRY = hashlib.sha256(b"zig").hexdigest()  # of the cache: the names that zig makes could be a user's


def check_targets(targets: Collection[str]) -> None:
    """Check that networks can be compiled for these systems here.

    Args:
        targets: Names of `TARGETS`.

    Raises:
        InputError: There is no such target.
        RuntimeUnavailableError: The package ziglang is not installed.
    """
    for target in targets:
        if target not in TARGETS:
            raise InputError(f"there is no target {target!r:.80}", choose_from(target, TARGETS))
    if targets and importlib.util.find_spec("ziglang") is None:
        raise RuntimeUnavailableError(
            "the package ziglang, which compiles for other systems, is not installed",
            "Install it: pip install 'drnn-deploy[native]'",
        )


def build_for(target: str, name: str, sources: Mapping[str, str]) -> dict[str, bytes]:
    """Compile the library and the self-test.

    Args:
        target: A name of `TARGETS`. With musl the self-test needs no library of the system, and runs on any Linux.
        name: The network's name in C.
        sources: File name -> text (`drnn_runtimes.native.package`), written by this installation.

    Returns:
        File name, in a folder of the target's name -> content.

    Raises:
        EngineError: They cannot be compiled.
    """
    library, self_test = f"lib{name}.a", "selftest"
    link = ("-static",) if target.endswith("-musl") else ()
    with tempfile.TemporaryDirectory() as folder:
        for file, text in sources.items():
            (Path(folder) / file).write_text(text, encoding="utf-8")
        _zig(folder, "cc", "-target", target, *_FLAGS, "-c", f"{name}.c", "-o", "network.o")
        _zig(folder, "ar", "rcs", library, "network.o")
        _zig(folder, "cc", "-target", target, *_FLAGS, "-s", *link, "selftest.c", "-o", self_test)
        return {f"{target}/{file}": (Path(folder) / file).read_bytes() for file in (library, self_test)}


def _zig(folder: str, *words: str) -> None:
    shrink(cache_folder("zig"), "zig")
    caches = {
        "ZIG_GLOBAL_CACHE_DIR": str(cache_folder("zig") / _ENTRY),
        "ZIG_LOCAL_CACHE_DIR": str(Path(folder) / ".zig"),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ziglang", *words],
            cwd=folder,
            env={**os.environ, **caches},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"zig {words[0]} does not work: {error}") from None
    if done.returncode:
        reason = first_error(done.stderr)
        raise EngineError(f"zig {words[0]} cannot compile the network: {reason}", "Leave --native-target out.")
