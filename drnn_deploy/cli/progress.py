"""Long work shows itself on standard error: a bar on a terminal, elsewhere a plain line every few seconds."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from drnn_core.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_EVERY = 4.0  # seconds between two plain lines
_FRAME = 0.25  # and between two looks of a bar
_WHOLE = 1000  # of a bar


class Clock:
    """How far the work is: from the estimates that its steps carry, and the time that went by.

    Args:
        now: A clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._started = now, now()
        self._share = 0.0
        self.text = "starting"
        self._left: float | None = None
        self._since = self._started

    def begin(self, text: str) -> None:
        """A step begins.

        Args:
            text: Its line; a `Step` knows how long it and all others will take.
        """
        self.text, self._left, self._since = printable(text), getattr(text, "left", None), self._now()

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return self._now() - self._started

    @property
    def left(self) -> float | None:
        """Seconds that are left; None where nobody knows. An estimate that ran out leaves a tenth of itself."""
        if self._left is None:
            return None
        return max(self._left - (self._now() - self._since), self._left / 10)

    @property
    def share(self) -> float | None:
        """How much of the work is done, 0 to 1, which never falls; None where nobody knows."""
        left = self.left
        if left is None:
            return None
        whole = self.seconds + left
        self._share = max(self._share, self.seconds / whole if whole else 0.0)
        return self._share

    @property
    def line(self) -> str:
        """All of it as a plain line."""
        share, left = self.share, self.left
        known = "" if share is None or left is None else f", {share:.0%}, about {shown_seconds(left)} left"
        return f"{self.text} ({shown_seconds(self.seconds)}{known})"


def shown_seconds(seconds: float) -> str:
    """A time for people: "7 s", "3 min 20 s".

    Args:
        seconds: The time.
    """
    whole = max(0, round(seconds))
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"


@contextlib.contextmanager
def progress(*, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Show what is going on, how far it is and how long it will still take.

    Args:
        quiet: Whether to show nothing.

    Yields:
        The function to call with the line of each step; a `Step` also says how long all is estimated to take.
    """
    from drnn_deploy.cli.plain_console import PlainConsole

    console, clock, over = PlainConsole(stderr=True, soft_wrap=True), Clock(), threading.Event()
    if quiet:
        yield clock.begin
        return
    with contextlib.ExitStack() as stack:
        if console.is_terminal:
            bar = stack.enter_context(_bar(console))
            task = bar.add_task(clock.text, total=None, left="")

            def show() -> None:
                share = clock.share
                total, done = (None, 0) if share is None else (_WHOLE, round(_WHOLE * share))
                left = "" if clock.left is None else f"{shown_seconds(clock.left)} left"
                bar.update(task, description=clock.text, total=total, completed=done, left=left)

        else:

            def show() -> None:
                console.print(clock.line)

        period = _FRAME if console.is_terminal else _EVERY
        watch = threading.Thread(target=_repeat, args=(show, over, period), daemon=True)
        watch.start()
        stack.callback(watch.join)
        stack.callback(over.set)
        yield clock.begin


def _repeat(show: Callable[[], None], over: threading.Event, period: float) -> None:
    with contextlib.suppress(OSError):  # whoever closes standard error does not want to see this
        while not over.wait(period):
            show()


def _bar(console: Console) -> Progress:
    from rich import progress as rich

    columns = (
        rich.SpinnerColumn(),
        rich.TextColumn("{task.description}", markup=False),
        rich.BarColumn(bar_width=20),
        rich.TaskProgressColumn(),
        rich.TimeElapsedColumn(),
        rich.TextColumn("{task.fields[left]}", markup=False),
    )
    return rich.Progress(*columns, console=console, transient=True)
