"""Text that may come from a file, made fit to be shown: what it is, and nothing that a terminal or a page obeys."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 2000  # characters of a message


def printable(text: str) -> str:
    r"""Replace what no one can see by how Python would write it.

    Args:
        text: Any text.

    Returns:
        The same with control characters, marks of direction, halves of surrogate pairs and the like as `\x1b` or
        `\ud800`. Ends of lines stay. It can be encoded, and stand in XML.
    """
    lines = text.split("\n")
    if all(map(str.isprintable, lines)):
        return text
    return "\n".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines)


def shortened(text: str, most: int = LONGEST) -> str:
    """Cut a text that is too long to be read.

    Args:
        text: Any text.
        most: The most characters of the result.

    Returns:
        The text, or its beginning and how long it was.
    """
    if len(text) <= most:
        return text
    end = f"... ({len(text):,} characters)"
    return text[: most - len(end)] + end


def for_people(text: str) -> str:
    """A message that may quote a file, cut to `LONGEST` characters that can all be seen."""
    return shortened(printable(shortened(text)))


def choose_from(name: object, known: Iterable[str]) -> str:
    """Advice where a name is none of those that there are.

    Args:
        name: What was given.
        known: The names that there are, in the order to show them.

    Returns:
        "Did you mean 'torch'? Choose from: torch, native." The question is left out where no name is near.
    """
    names = list(known)
    near = difflib.get_close_matches(str(name)[:LONGEST], names, 1)
    question = f"Did you mean {near[0]!r}? " if near else ""
    return f"{question}Choose from: {', '.join(names)}."
