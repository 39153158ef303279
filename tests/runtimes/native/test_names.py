"""Names in C, from names of files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_runtimes.native.names import c_name, check_c_name


@given(st.text() | st.sampled_from(["int", "test", "x" * 200, "9", "_", "drnn", "linux", "x" * 39 + "_y"]))
def test_every_file_gets_a_name(stem: str) -> None:
    assert check_c_name(c_name(stem)) == c_name(stem)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("pixel-mnist", "pixel_mnist"),
        ("Speaker ID, v2 (final)", "speaker_id_v2_final"),
        ("9x20", "network_9x20"),
        ("float", "network_float"),
        ("example", "network_example"),
        *((name, f"network_{name}") for name in ("xor", "random", "signal", "features", "concept", "y0", "string")),
        ("mod\u00e8le", "mod_le"),
        ("", "network"),
    ],
)
def test_odd_names_are_mended(stem: str, name: str) -> None:
    assert c_name(stem) == name


@pytest.mark.parametrize(
    "name", ["", "9x", "a-b", "Net", "int", "drnn", "drnn_cell", "_a", "a_", "a__b", "a" * 41, "\u00e4", "a\n"]
)
def test_odd_choices_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot name a network in C"):
        check_c_name(name)
