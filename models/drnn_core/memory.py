"""Whether this machine has the memory that a request would take, said before any of it is taken."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from drnn_core.bounds import shown_bytes
from drnn_core.errors import InputError

_UNKNOWN = 8 << 30  # bytes, where a system does not say
_CGROUP = Path("/sys/fs/cgroup")


@dataclasses.dataclass(frozen=True)
class Need:
    """A part of what a request takes.

    Attributes:
        what: The part, as in "the golden inputs".
        bytes: Its size.
        advice: What to change to need less.
    """

    what: str
    bytes: float
    advice: str


def require_memory(request: str, needs: Iterable[Need]) -> None:
    """Refuse what this machine has no memory for.

    Args:
        request: What takes it, as in "the export".
        needs: The parts that it takes at the same time.

    Raises:
        InputError: Together they are larger than `available_memory`. The message names the largest.
    """
    parts = list(needs)
    total, available = sum(part.bytes for part in parts), available_memory()
    if total > available:
        largest = max(parts, key=lambda part: part.bytes)
        raise InputError(
            f"{request} would take about {shown_bytes(total)} of memory, most of it ({shown_bytes(largest.bytes)}) for "
            f"{largest.what}; this machine has {shown_bytes(available)} free",
            largest.advice,
        )


def available_memory() -> int:
    """The bytes that this process can still take: what the machine has free, within the limits set for the process."""
    return max(0, min(_of_the_machine(), _of_the_container(), _of_the_process()))


def _of_the_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        (kilobytes,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(kilobytes) * 1024
    except (OSError, ValueError):  # not Linux
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows
        return _UNKNOWN


def _of_the_container() -> int:
    """What its control group leaves, in either of their versions."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return int((_CGROUP / limit).read_text(encoding="utf-8")) - int(
                (_CGROUP / used).read_text(encoding="utf-8")
            )
        except (OSError, ValueError):  # not there, or "max"
            continue
    return sys.maxsize


def _of_the_process() -> int:
    """What `ulimit -v` leaves."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError, ValueError):
        return sys.maxsize
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - pages * resource.getpagesize()
