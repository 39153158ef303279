"""Runs the parts of `benchmarks.gpu.check` in child processes with time limits, and keeps what came of them.

A child serves one part after the other, for importing PyTorch takes longer than most of them. One that crashes or hangs
is replaced, and only the rows that its part had not sent yet are lost.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from benchmarks.gpu.plan import SURVEY, Part
from drnn_core.worker_process import Child, ChildError
from drnn_runtimes.onnxrt.providers import TF32

Entry = dict[str, Any]
STATUSES = ("ok", "failed", "refused", "missing")
_UNTIMED = 0.6  # of the seconds at most for what is not timed
_LEAST_SECONDS = 1.0  # with less no part is begun
BEGUN = {"status": "unfinished", "reason": "the check ended before it did"}
# An address on the web, which stays, or the folders of an absolute path.
_FOLDERS = re.compile(r"""(\w+://\S+)|(?<![^\s'"(=:])/(?:[^\s/:'"]+/)+""")


def run_parts(parts: Sequence[Part], request: Mapping[str, Any], **options: Any) -> list[Entry]:
    """An entry for every part, whatever happens to it. options: see `Check`."""
    with contextlib.closing(Check(request, **options)) as check:
        return check.run(parts)


class Check:
    """One run of the check.

    request: what every child is told beside its part. module: of the children. jobs: parts at a time, of those that are
    not timed. seconds: for all parts together; those that they do not reach are missing. keep: gets all entries so far
    whenever a part begins, sends a row or ends. notify: gets a line for each part that has ended.

    Each entry has `part`, `status`, `seconds` and, unless its status is ok, `reason`, which holds no folder of this
    machine; what a part sent has `rows`. A part that was begun and has not ended is "unfinished".
    """

    def __init__(
        self,
        request: Mapping[str, Any],
        *,
        module: str = "benchmarks.gpu.worker",
        jobs: int = 1,
        seconds: float = float("inf"),
        keep: Callable[[list[Entry]], None] = lambda _: None,
        notify: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._request, self._module, self._jobs, self._seconds = dict(request), module, jobs, seconds
        self._keep, self._notify = keep, notify
        self._started = time.monotonic()
        self._entries: dict[str, Entry] = {}
        self._blocked: dict[str, Entry] = {}
        self._idle: dict[str, list[Child]] = {}  # by override
        self._busy: set[Child] = set()
        self._lock = threading.Lock()

    def run(self, parts: Sequence[Part]) -> list[Entry]:
        """Run them: the first, which says what is here, alone; those that are timed one by one at the end."""
        order = {part.name: number for number, part in enumerate(parts)}
        head = [part for part in parts if part.name == SURVEY]
        self._timed = any(part.alone for part in parts)
        for group, jobs in (
            (head, 1),
            ([part for part in parts if not part.alone and part not in head], self._jobs),
            ([part for part in parts if part.alone], 1),
        ):
            self._run_group(group, jobs)
            if group is not head:
                self.close()
        return sorted(self._entries.values(), key=lambda entry: order[entry["part"]])

    def close(self) -> None:
        """End the children that wait for a part: on a quiet GPU none other holds memory."""
        children = [child for idle in self._idle.values() for child in idle]
        with ThreadPoolExecutor(max(1, len(children))) as pool:  # each takes a second or two
            list(pool.map(Child.close, children))
        self._idle.clear()

    def _run_group(self, parts: Sequence[Part], jobs: int) -> None:
        begun: dict[str, Future[None]] = {}
        pool = ThreadPoolExecutor(jobs)
        try:
            for part in parts:  # the pool begins them in this order, so what a part waits for has begun before it
                waits = [begun[name] for name in part.after if name in begun]
                begun[part.name] = pool.submit(self._run_part, part, waits)
            for future in begun.values():
                future.result()
        except BaseException:  # Ctrl-C, or a result that cannot be written
            with self._lock:
                for child in self._busy:
                    child.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _run_part(self, part: Part, after: Sequence[Future[None]]) -> None:
        for future in after:
            future.result()
        before = time.monotonic()
        found = self._obstacle(part) or self._asked(part)
        seconds = round(time.monotonic() - before, 1)
        with self._lock:
            if part.name == SURVEY:
                self._blocked = found.pop("blocked", {})
            rows = {name: value for name, value in self._entries.get(part.name, {}).items() if name == "rows"}
            entry = {"part": part.name, **rows, **without_folders(found), "seconds": seconds}
            self._put(entry)
            self._notify(f"{entry['status']:8} {seconds:6.1f} s  {part.name}  {entry.get('reason', '')}".rstrip())

    def _put(self, entry: Entry) -> None:
        self._entries[entry["part"]] = entry
        self._keep(list(self._entries.values()))

    def _obstacle(self, part: Part) -> Entry | None:
        """Why a part is not begun: what it needs is not here, or the time is over."""
        for runtime in part.runtimes:
            if runtime in self._blocked:
                return dict(self._blocked[runtime])
        for name in part.after:
            if self._entries.get(name, {}).get("status") != "ok":
                return {"status": "missing", "reason": f"{name}, on which it builds, was not ok"}
        seconds, of = self._budget(part)
        if self._left(seconds) < _LEAST_SECONDS:
            return {"status": "missing", "reason": f"the {seconds:g} s {of} were over before it"}
        return None

    def _budget(self, part: Part) -> tuple[float, str]:
        """The seconds after which no part of its kind begins, and what they are for."""
        if part.alone or not self._timed:
            return self._seconds, "of the whole check"
        return _UNTIMED * self._seconds, "of what is not timed"

    def _left(self, seconds: float) -> float:
        return seconds - (time.monotonic() - self._started)

    def _asked(self, part: Part) -> Entry:
        entry: Entry = {"part": part.name, **BEGUN}

        def add(row: Entry) -> None:
            with self._lock:
                entry.setdefault("rows", []).append(without_folders(row))
                self._put(entry)

        with self._lock:
            self._put(entry)
            idle = self._idle.setdefault(part.override, [])
            child = (
                idle.pop()
                if idle
                else Child(self._module, _environment(part.override, 1 if part.alone else self._jobs))
            )
            self._busy.add(child)
        seconds, of = self._budget(part)
        left = round(self._left(seconds), 1)
        try:
            found = child.ask({**self._request, "part": part.name}, min(part.seconds, left), add)
        except ChildError as error:
            child.close()
            if error.late and left < part.seconds:
                return {**BEGUN, "reason": f"the {seconds:g} s {of} were over before it ended"}
            how = f"{error.how} and was stopped" if error.late else f"its process ended: {error.how}"
            return {"status": "failed", "reason": how}
        except BaseException:
            child.close()
            raise
        finally:
            with self._lock:
                self._busy.discard(child)
        if found.get("status") in ("ok", "missing"):
            with self._lock:
                self._idle[part.override].append(child)
        else:  # an error of a GPU stays in the process: every later call would fail with it
            child.close()
        if found.get("status") not in STATUSES:
            return {"status": "failed", "reason": f"its process answered with {str(found)[:100]}"}
        return found


def without_folders(value: Any) -> Any:
    """JSON types with every absolute path in a text cut to its file's name."""
    if isinstance(value, str):
        return _FOLDERS.sub(lambda found: found[1] or "", value)
    if isinstance(value, dict):
        return {name: without_folders(each) for name, each in value.items()}
    return [without_folders(each) for each in value] if isinstance(value, list) else value


def _environment(override: str, jobs: int) -> dict[str, str]:
    """Of a child: NVIDIA_TF32_OVERRIDE before any library is loaded, and its share of the processor's cores."""
    found = {name: value for name, value in os.environ.items() if name != TF32}
    if override != "unset":
        found[TF32] = override
    if jobs > 1:
        found["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    return found
