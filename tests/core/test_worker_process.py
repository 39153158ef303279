from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from pathlib import Path

import pytest

from drnn_core.worker_process import Child, ChildError, ask
from tests.core.worker_stand_in import MEMORY

STAND_IN = "tests.core.worker_stand_in"


def running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_reply_is_what_the_child_returns_whatever_it_prints() -> None:
    reply = ask(STAND_IN, {"do": "reply", "text": "\u00e9"}, 30)
    assert reply["request"] == {"do": "reply", "text": "\u00e9"}
    assert {str(Path(entry).absolute()) for entry in sys.path} <= set(reply["path"])


def test_a_crash_is_told_with_its_signal_and_last_words() -> None:
    with pytest.raises(ChildError, match="killed by SIGABRT\nabout to end") as error:
        ask(STAND_IN, {"do": "abort"}, 30)
    assert not error.value.late


def test_an_exception_is_told_with_its_last_line() -> None:
    with pytest.raises(ChildError, match=r"exit code 1\n(.*\n)*ValueError: words of the error"):
        ask(STAND_IN, {"do": "raise"}, 30)


def test_a_child_that_ends_well_but_says_nothing_has_not_answered() -> None:
    with pytest.raises(ChildError, match="ended without a reply: exit code 0"):
        ask(STAND_IN, {"do": "exit"}, 30)


def test_one_child_answers_many_requests_and_its_rows_come_before_its_reply() -> None:
    with contextlib.closing(Child(STAND_IN)) as child:
        seen: list[dict[str, int]] = []
        replies = [child.ask({"do": "rows", "count": count}, 30, seen.append) for count in (2, 0, 1)]
        assert seen == [{"number": 0}, {"number": 1}, {"number": 0}]
        assert len({reply["process"] for reply in replies}) == 1
        with pytest.raises(ChildError, match="killed by SIGABRT"):
            child.ask({"do": "rows", "count": 5}, 30, seen.append)
        assert seen[3:] == [{"number": number} for number in range(3)]
        with pytest.raises(ChildError, match="killed by SIGABRT"):
            child.ask({"do": "reply"}, 30)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited where the system can")
def test_a_child_has_the_memory_that_it_gives_itself() -> None:
    assert ask(STAND_IN, {"do": "allocate", "bytes": MEMORY // 2}, 30) == {"bytes": MEMORY // 2}
    with pytest.raises(ChildError, match="MemoryError"):
        ask(STAND_IN, {"do": "allocate", "bytes": MEMORY}, 30)


def test_a_child_that_ended_says_so() -> None:
    with contextlib.closing(Child(STAND_IN)) as child:
        assert not child.ended
        with pytest.raises(ChildError):
            child.ask({"do": "exit"}, 30)
        assert child.ended


def test_a_child_has_the_environment_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_VARIABLE", "of this process")
    given = {name: value for name, value in os.environ.items() if name != "SOME_VARIABLE"}
    for environment, expected in ((None, "of this process"), (given, None)):
        with contextlib.closing(Child(STAND_IN, environment)) as child:
            assert child.ask({"do": "reply"}, 30)["variable"] == expected


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_a_late_child_is_killed_with_what_it_started(tmp_path: Path) -> None:
    with contextlib.closing(Child(STAND_IN)) as child:
        child.ask({"do": "reply"}, 30)  # it has started
        started = time.monotonic()
        with pytest.raises(ChildError, match=r"no answer after 1\.5 s") as error:
            child.ask({"do": "hang", "file": str(tmp_path / "pids")}, 1.5)
        assert error.value.late
        assert time.monotonic() - started < 10
    processes = (tmp_path / "pids").read_text(encoding="utf-8").split()
    assert len(processes) == 2
    deadline = time.monotonic() + 5
    while any(map(running, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(running, processes))


@pytest.mark.parametrize("seconds", [1e10, math.inf])
def test_a_time_limit_may_be_longer_than_a_thread_can_wait(seconds: float) -> None:
    """A timer that cannot wait so long raises in its own thread, which pytest takes for an error."""
    assert ask(STAND_IN, {"do": "reply"}, seconds)["request"] == {"do": "reply"}


def test_a_grandchild_that_goes_on_does_not_hold_up_the_reply() -> None:
    with contextlib.closing(Child(STAND_IN)) as child:
        child.ask({"do": "reply"}, 30)  # it has started
        started = time.monotonic()
        child.ask({"do": "leave"}, 30)
        assert time.monotonic() - started < 4


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc")
def test_what_a_child_started_ends_with_it_also_where_it_fails(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="killed by SIGABRT"):
        ask(STAND_IN, {"do": "start and fail", "file": str(tmp_path / "pids")}, 30)
    _, process = (tmp_path / "pids").read_text(encoding="utf-8").split()
    deadline = time.monotonic() + 5
    while running(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(process)
