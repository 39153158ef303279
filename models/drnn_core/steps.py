"""The lines by which long work says what it does, and how long it will still take."""

from __future__ import annotations

from collections.abc import Callable

Notify = Callable[[str], None]  # takes a line on what is done at the moment


class Step(str):
    """A line on what is done at the moment; any function that takes a string takes it.

    Args:
        text: The line.
        left: Seconds that this and all that follows are estimated to take. None where nobody knows.
    """

    __slots__ = ("left",)
    left: float | None

    def __new__(cls, text: str, left: float | None = None) -> Step:
        """Make one."""
        step = super().__new__(cls, text)
        step.left = left
        return step
