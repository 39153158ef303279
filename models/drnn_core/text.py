"""Text that may come from a file, made fit to be shown: what it is, and nothing that a terminal or a page obeys."""

from __future__ import annotations

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
