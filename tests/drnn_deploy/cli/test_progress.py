"""Long work shows itself: what is said, how often, and figures that a person can believe."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.steps import Step
from drnn_deploy.cli import progress as shown
from drnn_deploy.cli.progress import Clock, progress, shown_seconds

SECONDS = st.floats(0, 1e4)


class Time:
    """A clock that goes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(SECONDS, st.none() | SECONDS), min_size=1, max_size=8))
def test_the_share_never_falls_and_stays_below_the_end(steps: list[tuple[float, float | None]]) -> None:
    """Whatever the estimates are, and however wrong."""
    now = Time()
    clock, before = Clock(now), 0.0
    for passed, left in steps:
        clock.begin(Step("a step", left))
        now.now += passed
        share = clock.share
        assert (share is None) == (left is None)
        if share is not None and clock.left is not None:
            assert before <= share <= 1
            assert clock.left >= 0
            before = share


def test_half_the_time_is_half_the_bar() -> None:
    now = Time()
    clock = Clock(now)
    clock.begin(Step("checking torch", 40.0))
    now.now = 10
    assert clock.line == "checking torch (10 s, 25%, about 30 s left)"
    now.now = 20
    clock.begin(Step("checking native", 20.0))
    assert (clock.share, clock.left) == (0.5, 20.0)
    clock.begin("something else")
    assert clock.line == "something else (20 s)"


@pytest.mark.parametrize("seconds, text", [(0.4, "0 s"), (99, "99 s"), (200, "3 min 20 s"), (-1, "0 s")])
def test_times_for_people(seconds: float, text: str) -> None:
    assert shown_seconds(seconds) == text


def test_a_step_is_its_text() -> None:
    step = Step("line", 3.0)
    assert (step, step.left, isinstance(step, str)) == ("line", 3.0, True)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(shown, "_EVERY", 0.02)
    monkeypatch.setattr(shown, "_FRAME", 0.02)


def work(*, quiet: bool = False) -> None:
    with progress(quiet=quiet) as notify:
        notify(Step("first \x1b[31m[bold]step", 90.0))
        time.sleep(0.3)
        notify("second step")
        time.sleep(0.3)


@pytest.mark.usefixtures("fast")
def test_plain_lines_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    work()
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert re.fullmatch(
        r"first \\x1b\[31m\[bold\]step \(\d s, \d%, about [89]\d s left\)",
        lines[0] if "first" in lines[0] else lines[1],
    )
    assert re.fullmatch(r"second step \(\d s\)", lines[-1])
    assert len(lines) > 4


@pytest.mark.usefixtures("fast")
def test_a_bar_with_percentage_and_time_left_on_a_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    work()
    out, err = capfd.readouterr()
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", err)
    assert out == ""
    assert re.search(r"\[bold\]step .*━.* \d% .*[89]\d s left", text)
    assert "second step" in text


@pytest.mark.usefixtures("fast")
def test_quiet_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    work(quiet=True)
    assert capfd.readouterr() == ("", "")
