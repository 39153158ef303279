"""How large the compiled code of C sources is, where this machine can tell."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from drnn_runtimes.native.compiler import compiler

_SECONDS = 120.0


def code_size(sources: Mapping[str, str], file: str) -> str:
    """Compile with `-O3` and measure, for people.

    Args:
        sources: File name -> text, written by this installation.
        file: The one to compile.

    Returns:
        The bytes and what compiled them, or that they were not measured.
    """
    command = compiler()
    if not command:
        return "not measured: there was no C compiler"
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sources.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        try:
            _run([*command, "-O3", "-w", "-c", file, "-o", "code.o"], folder)
            sections = _run(["size", "-A", "-d", "code.o"], folder)
            version = _run([*command, "-dumpfullversion", "-dumpversion"], folder)
            machine = _run([*command, "-dumpmachine"], folder)
        except (OSError, subprocess.SubprocessError) as error:
            return f"not measured: {type(error).__name__}"
    lines = [line.split() for line in sections.splitlines() if line.startswith(".text")]
    return f"{sum(int(line[1]) for line in lines):,} ({Path(command[0]).name} {version.strip()}, {machine.strip()})"


def _run(command: list[str], folder: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=True
    )
    return done.stdout
