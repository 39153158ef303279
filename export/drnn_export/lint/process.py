"""Runs the lint (`drnn_export.lint.worker`) in a process of its own, with limits of memory and time.

A graph from elsewhere may ask ONNX's own checks for terabytes, for days, or for a recursion that ends the process. One
such process is kept for further files; it starts again after one that ended it.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drnn_core.bounds import shown_bytes
from drnn_core.errors import InputError
from drnn_core.worker_process import Child, ChildError
from drnn_export.lint.tables import Finding

if TYPE_CHECKING:
    from drnn_export.lint.tables import LintTarget

MEMORY = 1_600_000_000  # bytes that the process may take
MOST_BYTES = 400_000_000  # of a file: it is in memory three times
_SECONDS = 15.0
_FIX = "Give the path of an .onnx file; large weights can be saved as external data."


class Findings(tuple[Finding, ...]):
    """What a check found, errors first; of very many findings the first ones.

    Attributes:
        errors: How many errors there are, with those that are left out.
        warnings: How many warnings there are, with those that are left out.
    """

    errors: int
    warnings: int

    def __new__(cls, findings: Iterable[Finding], errors: int, warnings: int) -> Findings:
        """Keep findings, and how many there are in all."""
        kept = super().__new__(cls, findings)
        kept.errors, kept.warnings = errors, warnings
        return kept

    @property
    def left_out(self) -> int:
        """How many findings are left out."""
        return self.errors + self.warnings - len(self)


def ask_lint(
    path: Path, folder: Path, targets: Sequence[LintTarget], capabilities: Sequence[str], shown: str
) -> dict[LintTarget, Findings]:
    """Lint a file in the other process.

    Args:
        path: The file.
        folder: The folder of its external data.
        targets: The targets to check for.
        capabilities: Compute capabilities of GPUs that the graph must also run on.
        shown: What messages call the file.

    Returns:
        Target -> findings.

    Raises:
        InputError: The file cannot be read, is no ONNX model, or takes more than a check may.
    """
    request = {
        "path": str(path.absolute()),
        "folder": str(folder.absolute()),
        "targets": list(targets),
        "capabilities": list(capabilities),
        "shown": shown,
    }
    try:
        reply = _KEPT.ask(request)
    except ChildError as error:
        ending = error.how.partition("\n")[0]
        how = f"it takes over {_SECONDS:g} s" if error.late else f"the process that did so ended ({ending:.200})"
        raise InputError(f"{shown} cannot be checked: {how}", _FIX) from None
    if "error" in reply:
        raise InputError(reply["error"], reply["fix"])
    return {
        target: Findings((Finding(**entry) for entry in found["findings"]), found["errors"], found["warnings"])
        for target, found in reply["targets"].items()
    }


def check_size(path: Path) -> None:
    """Check that a file is not too large to be checked.

    Raises:
        InputError: It is.
    """
    if path.is_file() and (size := path.stat().st_size) > MOST_BYTES:
        raise InputError(f"{path} has {shown_bytes(size)}, more than the {shown_bytes(MOST_BYTES)} that are read", _FIX)


class _KeptChild:
    """The process, from the first question to the end of this one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: Child | None = None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The reply; after any other ending the next question starts another process."""
        with self._lock:
            if self._child is not None and self._child.ended:  # while nobody asked it
                self._child.close()
                self._child = None
            child = self._child or Child("drnn_export.lint.worker")
            self._child = None
            try:
                reply = child.ask(request, _SECONDS)
            except BaseException:
                child.close()
                raise
            self._child = child
            return reply

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._child is not None:
                self._child.close()
            self._child = None


_KEPT = _KeptChild()
atexit.register(_KEPT.close)
