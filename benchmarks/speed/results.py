"""The files of results: benchmarks/results/speed/GROUP.json, written after every row, so that a run can be resumed.

A row that is there is not measured again, unless the file comes from another machine or other versions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS
from benchmarks.speed.plan import Entry, Group
from drnn_core.files import replacing
from drnn_deploy.bench.machine import machine
from drnn_deploy.bench.results import Absent, Row

FOLDER = RESULTS / "speed"
THREADS = 1
_DIGITS = 5  # that are worth keeping
Rows = dict[str, dict[str, Any]]  # by `Entry.key`


def load_rows(folder: Path, group: Group) -> Rows:
    """The rows of a group that were measured on this machine with these versions.

    Args:
        folder: Of the files.
        group: Whose file.
    """
    path = folder / f"{group.name}.json"
    if not path.is_file():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))
    return {row["key"]: row for row in kept["rows"]} if kept["machine"] == machine() else {}


def save_rows(folder: Path, group: Group, rows: Rows) -> None:
    """Write the rows of a group, in the order of the plan.

    Args:
        folder: Of the files.
        group: Whose file.
        rows: What was measured so far.
    """
    ordered = [rows[entry.key] for entry in group.entries if entry.key in rows]
    described = {"machine": machine(), "threads": THREADS, "group": group.name, "title": group.title}
    with replacing(folder / f"{group.name}.json") as temporary:
        text = json.dumps({**described, "variable": group.variable, "rows": ordered}, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


def described_row(entry: Entry, row: Row, absent: tuple[Absent, ...]) -> dict[str, Any]:
    """A row for a file.

    Args:
        entry: What was asked for.
        row: What was measured.
        absent: Who is not installed.
    """
    missing = [{"contender": gone.contender, "reason": gone.reason} for gone in absent]
    described = {"key": entry.key, "network": entry.spec.short_name, "size": entry.size}
    figures: dict[str, Any] = _rounded(row.to_json())
    return described | figures | {"absent": missing}


def load_groups(folder: Path) -> dict[str, dict[str, Any]]:
    """All files of a folder, by the names of their groups."""
    files = sorted(folder.glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
