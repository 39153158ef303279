"""Whatever a file says can be shown, and a message about it can be read."""

from __future__ import annotations

import unicodedata
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import EngineError, InputError
from drnn_core.text import LONGEST, for_people, printable, shortened

anything = st.text(st.characters(codec=None, categories=None))  # halves of surrogate pairs too


@given(anything)
def test_printable_text_is_printable_and_says_the_same(text: str) -> None:
    shown = printable(text)
    assert all(character == "\n" or character.isprintable() for character in shown)
    shown.encode()
    ElementTree.fromstring(ElementTree.tostring(ElementTree.Element("a", name=shown)))
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    "text, shown",
    [
        ("ü 日本", "ü 日本"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\r\tb\0", "a\\r\\tb\\x00"),
        ("\ud800", "\\ud800"),
        ("a\nb", "a\nb"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_marks_of_direction_are_spelled() -> None:
    assert unicodedata.category("\u202e") == "Cf"
    assert printable("model\u202etp.exe") == "model\\u202etp.exe"


@given(anything, st.integers(40, 100))
def test_shortened_text_says_how_long_it_was(text: str, most: int) -> None:
    assert shortened(text, most) == text or len(text) > most
    long = text + "x" * 1000
    assert len(shortened(long, most)) <= most
    assert shortened(long, most).endswith(f"({len(long):,} characters)")


@given(anything)
def test_messages_of_errors_can_be_shown_and_read(text: str) -> None:
    for error in (InputError(text * 100, text * 100), EngineError(text, text)):
        for part in (error.message, error.fix):
            part.encode()
            assert len(part) <= LONGEST
        assert str(error) == for_people(error.message) + (f"\n{error.fix}" if error.fix else "")


def test_a_message_of_many_megabytes_is_cut_at_once() -> None:
    error = InputError("\0" * (100 << 20))
    assert len(error.message) <= 2000
    assert error.message.startswith("\\x00")
