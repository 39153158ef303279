"""Whether this machine has the memory that a request would take, said before any of it is taken."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from drnn_core.bounds import shown_bytes
from drnn_core.errors import InputError

_UNKNOWN = 8 << 30  # bytes, where a system does not say
_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_CGROUP_FILES = (  # controller, and its limit, use, and files in memory: version 2, whose controller has no name, and 1
    ("", "memory.max", "memory.current", "inactive_file"),
    ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


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
    """What its control group leaves, and those above it, in either of their versions."""
    folders = [
        (_CGROUP / root / below, limit, used, cache)
        for root, limit, used, cache in _CGROUP_FILES
        for below in _own_groups(root)
    ]
    return min((_left(*folder) for folder in folders), default=sys.maxsize)


def _own_groups(controller: str) -> list[PurePosixPath]:
    """The group of a controller that this process is in, and all above it, as paths below the controller's folder."""
    groups = {PurePosixPath()}
    with contextlib.suppress(OSError, ValueError):
        for line in _OWN_GROUPS.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(",") and ".." not in path:
                below = PurePosixPath(path.lstrip("/"))
                groups |= {below, *below.parents}
    return sorted(groups)


def _left(folder: Path, limit: str, used: str, cache: str) -> int:
    """The limit without what is used, of which the system gives back the files that it keeps in memory."""
    try:
        most, taken = (int((folder / name).read_text(encoding="utf-8")) for name in (limit, used))
    except (OSError, ValueError):  # not there, or "max"
        return sys.maxsize
    with contextlib.suppress(OSError, ValueError, KeyError):
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
        taken -= int(dict(line.split() for line in lines)[cache])
    return most - max(0, taken)


def _of_the_process() -> int:
    """What `ulimit -v` leaves."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError, ValueError):
        return sys.maxsize
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - pages * resource.getpagesize()
