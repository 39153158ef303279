"""Ctrl-C and SIGTERM: they end a training between two steps, never within one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

_STOPS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a training as Ctrl-C does."""


def exit_code(stop: KeyboardInterrupt) -> int:
    """What the command line ends with, as a shell reports of a program that the signal ended.

    Args:
        stop: What stopped it.
    """
    return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated`, as Ctrl-C raises KeyboardInterrupt. In the main thread only."""

    def terminate(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block is through: no training goes on from half a step."""
    handlers = {number: signal.getsignal(number) for number in _STOPS}
    if None in handlers.values() or threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[signal.Signals] = []
    for number in _STOPS:
        signal.signal(number, lambda number, frame: held.append(signal.Signals(number)))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for stop in [number for number in held if handlers[number] is not signal.SIG_IGN][:1]:
        signal.raise_signal(stop)
