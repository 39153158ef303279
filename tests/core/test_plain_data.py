"""Limits of nesting and size that are the same on every Python."""

from __future__ import annotations

import ast
import itertools
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.plain_data import MAX_DEPTH, PlainDataError, check_plain, parse_json, parse_toml

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("drnn_deploy", "export", "models", "runtimes")


def nested(levels: int, kind: type = list) -> Any:
    """`levels` containers within each other, built from the inside."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if kind is dict else kind([value])
    return value


@pytest.mark.parametrize("kind", [list, tuple, dict, frozenset])
def test_the_deepest_that_is_taken(kind: type) -> None:
    check_plain(nested(MAX_DEPTH, kind))
    for levels in (MAX_DEPTH + 1, 100 * sys.getrecursionlimit()):
        if kind in (list, dict) or levels < 1000:  # Python itself recurses to hash and to free deep tuples
            with pytest.raises(PlainDataError, match=f"deeper than {MAX_DEPTH} levels"):
                check_plain(nested(levels, kind))


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 500, 5000, 200_000])
def test_parsers_draw_the_same_line(levels: int) -> None:
    lists, table = "[" * levels + "1" + "]" * levels, "{a=" * levels + "1" + "}" * levels
    documents = [(parse_json, lists), (parse_json, lists.encode())]
    if levels <= 5000:  # tomllib takes a while
        documents += [(parse_toml, "x = " + lists.removeprefix("[").removesuffix("]"))]
        documents += [(parse_toml, "x = " + table.removeprefix("{a=").removesuffix("}"))]
    for parse, document in documents:
        if levels == MAX_DEPTH:
            parse(document)
        else:
            with pytest.raises(PlainDataError, match=f"deeper than {MAX_DEPTH} levels"):
                parse(document)


def test_dotted_keys_of_toml_nest_too() -> None:
    parse_toml(".".join("a" * (MAX_DEPTH - 1)) + " = 1")
    with pytest.raises(PlainDataError, match="nested"):
        parse_toml(f"[{'.'.join('a' * (MAX_DEPTH + 1))}]\nb = 1")


@pytest.mark.parametrize("part", ["a", '"a b"', "'a'", "a-1 "])
def test_the_deepest_key_of_toml_and_one_deeper(part: str) -> None:
    assert parse_toml(".".join([part] * (MAX_DEPTH - 1)) + " = 1")
    for table in (f"{part} = 1\n[x]\n", "", "x = {"):
        with pytest.raises(PlainDataError, match="nested deeper than 64"):
            parse_toml(table + " . ".join([part] * (MAX_DEPTH + 1)) + " = 1" + "}" * table.count("{"))


@pytest.mark.parametrize(
    "text",
    ["a." * 500_000 + "a=1", "a" * 1_000_000, '"a"' * 300_000, "'a'." * 250_000, "a " * 500_000, "a.\n" * 300_000],
)
def test_no_toml_takes_long(text: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError):
        parse_toml(text)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("number", [1 << 128, -(1 << 128), 10**400])
def test_a_whole_number_that_no_file_of_ours_holds_is_refused(number: int) -> None:
    for parse, text in ((parse_json, f"[{number}]"), (parse_toml, f"a = [{number}]")):
        with pytest.raises(PlainDataError, match="a whole number of more than 128 bits"):
            parse(text)
    check_plain({"largest": (1 << 128) - 1})


def test_a_list_in_itself_and_one_in_very_many_places_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(PlainDataError, match="nested"):
        check_plain(endless)
    wide: Any = [0]
    for _ in range(MAX_DEPTH - 2):
        wide = [wide, wide]  # 2**62 values as JSON
    with pytest.raises(PlainDataError, match="more than 2,000,000 values"):
        check_plain(wide)
    with pytest.raises(PlainDataError, match="more than 67,108,864 characters"):
        check_plain([["a" * (1 << 20)] * 65])


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_other_documents_are_read_as_json_reads_them(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value
    check_plain(value)


@pytest.mark.parametrize("document", ["", "{", "[1,]", '{"a": 01}'])
def test_what_is_no_document_is_an_ordinary_error(document: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_json(document)
    assert not isinstance(raised.value, PlainDataError)


def test_only_this_module_knows_of_the_interpreters_limit() -> None:
    """Files are parsed by `parse_json` and `parse_toml`; `json.loads` and `tomllib` read the product's own data."""
    own = re.compile(r"json\.dumps|tables\.toml|pyproject\.toml|loads\(line\)")
    paths = {folder: list((REPOSITORY / folder).rglob("*.py")) for folder in FOLDERS}
    assert all(paths.values())
    for path in itertools.chain.from_iterable(paths.values()):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Name):
                assert node.id != "RecursionError" or path.name in ("plain_data.py", "speech.py"), path  # and tarfile's
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.loads", "tomllib.loads"):
                assert own.search(ast.unparse(node)) or path.name == "plain_data.py", ast.unparse(node)
