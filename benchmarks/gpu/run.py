"""Runs the parts of `benchmarks.gpu.check`, each in a child process with a time limit, and keeps what came of them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.gpu.plan import SURVEY, Part
from drnn_core.worker_process import ChildError, ask

Entry = dict[str, Any]
STATUSES = ("ok", "failed", "refused", "missing")
# An address on the web, which stays, or the folders of an absolute path.
_FOLDERS = re.compile(r"""(\w+://\S+)|(?<![^\s'"(=:])/(?:[^\s/:'"]+/)+""")


def run_parts(
    parts: Sequence[Part],
    request: Mapping[str, Any],
    *,
    module: str = "benchmarks.gpu.worker",
    budget: float = float("inf"),
    keep: Callable[[list[Entry]], None] = lambda _: None,
    notify: Callable[[str], None] = lambda _: None,
) -> list[Entry]:
    """An entry for every part, whatever happens to it; `keep` gets all of them after each.

    request: what every child is told beside its part. module: of the children. budget: seconds for all parts together;
    those that it does not reach are missing. Each entry has `part`, `status`, `seconds` and, unless its status is ok,
    `reason`, which holds no folder of this machine.
    """
    entries: list[Entry] = []
    blocked: dict[str, Entry] = {}
    status: dict[str, str] = {}
    started = time.monotonic()
    for part in parts:
        left = budget - (time.monotonic() - started)
        before = time.monotonic()
        found = _obstacle(part, blocked, status, left, budget) or _run(part, request, module, min(part.seconds, left))
        seconds = round(time.monotonic() - before, 1)
        if part.name == SURVEY:
            blocked = found.pop("blocked", {})
        entry = {"part": part.name, **without_folders(found), "seconds": seconds}
        status[part.name] = entry["status"]
        entries.append(entry)
        keep(entries)
        notify(f"{entry['status']:8} {seconds:6.1f} s  {part.name}  {entry.get('reason', '')}".rstrip())
    return entries


def without_folders(value: Any) -> Any:
    """JSON types with every absolute path in a text cut to its file's name."""
    if isinstance(value, str):
        return _FOLDERS.sub(lambda found: found[1] or "", value)
    if isinstance(value, dict):
        return {name: without_folders(each) for name, each in value.items()}
    return [without_folders(each) for each in value] if isinstance(value, list) else value


def _obstacle(
    part: Part, blocked: Mapping[str, Entry], status: Mapping[str, str], left: float, budget: float
) -> Entry | None:
    """Why a part is not begun: what it needs is not here, or the time is over."""
    for runtime in part.runtimes:
        if runtime in blocked:
            return dict(blocked[runtime])
    if part.after and status.get(part.after) != "ok":
        return {"status": "missing", "reason": f"{part.after}, whose files it reads, was not ok"}
    if left <= 0:
        return {"status": "missing", "reason": f"the {budget:g} s of the whole check were over before it"}
    return None


def _run(part: Part, request: Mapping[str, Any], module: str, limit: float) -> Entry:
    try:
        found = ask(module, {**request, "part": part.name}, limit)
    except ChildError as error:
        how = f"{error.how} and was stopped" if error.late else f"its process ended: {error.how}"
        return {"status": "failed", "reason": how}
    if found.get("status") not in STATUSES:
        return {"status": "failed", "reason": f"its process answered with {str(found)[:100]}"}
    return found
