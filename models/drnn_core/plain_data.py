"""Plain data out of files: JSON, TOML and what a pickle of lists and dicts holds, within limits of the product's own.

Parsers and `json.dumps` recurse as deep as the interpreter lets them, which differs between Pythons. These limits are
the same on all of them.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from drnn_core import bounds

MAX_DEPTH = 64  # lists and dicts within each other; the product's own files have at most 8
MAX_VALUES = 2_000_000  # counted as they would be written: a pickle may hold one list in many places
_MOST_CHARACTERS = 1 << 26  # likewise
_MOST_BITS = 128  # of a whole number: Python writes none of over 4,300 digits, and makes no float of over 308
_DEEP_KEY = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{MAX_DEPTH}}}"""  # also within a text
)
_SCHEMA_ERRORS = 100  # of one value, among which the most telling is looked for


class PlainDataError(ValueError):
    """Data beyond `MAX_DEPTH`, `MAX_VALUES` or another limit."""


def read_json(path: Path, most: int = bounds.TEXT, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Read a JSON file.

    Args:
        path: The file.
        most: The most bytes that it may have.
        parse_constant: As in `parse_json`.

    Returns:
        Its value.

    Raises:
        OSError: It cannot be read.
        ValueError: It is larger, or `parse_json` refuses it.
    """
    return parse_json(bounds.text_of(path, most), parse_constant=parse_constant)


def read_toml(path: Path, most: int = bounds.TOML) -> dict[str, Any]:
    """Read a TOML file.

    Args:
        path: The file.
        most: The most bytes that it may have.

    Returns:
        Its top table.

    Raises:
        OSError: It cannot be read.
        ValueError: It is larger, or `parse_toml` refuses it.
    """
    return parse_toml(bounds.text_of(path, most))


def parse_json(text: str | bytes, *, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Parse JSON.

    Args:
        text: A whole JSON document.
        parse_constant: Gets each NaN and Infinity, as in `json.loads`.

    Returns:
        Its value.

    Raises:
        ValueError: It is not JSON, or `check_plain` refuses it.
    """
    return _parse(lambda: json.loads(text, parse_constant=parse_constant))


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Args:
        text: A whole TOML document.

    Returns:
        Its top table.

    Raises:
        ValueError: It is not TOML, or `check_plain` refuses it.
    """
    if _DEEP_KEY.search(text):  # for which tomllib takes the square of its length
        raise _too_deep()
    table: dict[str, Any] = _parse(lambda: tomllib.loads(text))
    return table


@functools.cache
def shipped_json(package: str, name: str) -> Any:
    """Read a JSON file that ships beside the modules of a package, once.

    Args:
        package: The import name of the package.
        name: The name of the file.

    Returns:
        Its value, which every caller shares: it is for reading only.
    """
    return json.loads((resources.files(package) / name).read_text(encoding="utf-8"))


def schema_error(value: object, package: str, name: str) -> Any | None:
    """Find what is wrong with a value.

    Args:
        value: What JSON can hold.
        package: Of the JSON schema, see `shipped_json`.
        name: Likewise.

    Returns:
        The most telling `jsonschema.ValidationError`, or None where the value fits the schema.
    """
    import jsonschema

    errors = _validator(package, name).iter_errors(value)
    return jsonschema.exceptions.best_match(itertools.islice(errors, _SCHEMA_ERRORS))


@functools.cache
def _validator(package: str, name: str) -> Any:
    """A validator whose integers are no 1.0 and whose numbers are finite, as JSON's own rules do not ask."""
    import jsonschema

    schema = shipped_json(package, name)
    standard: Any = jsonschema.validators.validator_for(schema)
    types = standard.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_finite})
    strict: Any = jsonschema.validators.extend(standard, type_checker=types)  # type: ignore[no-untyped-call]
    return strict(schema)


def _is_integer(_: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(_: object, value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def check_plain(value: object, most_values: int = MAX_VALUES) -> None:
    """Check that lists, tuples, sets and dicts stay within the limits, without recursion.

    Args:
        value: Anything; what is no container counts as one value.
        most_values: The most values that they may hold.

    Raises:
        PlainDataError: They are nested deeper than `MAX_DEPTH` (as one that contains itself is), or hold more values or
            characters, or a whole number of more bits than a limit.
    """
    open_containers: list[Iterator[Any]] = [iter((value,))]
    values = characters = 0
    while open_containers:
        for child in open_containers[-1]:
            values += 1
            if isinstance(child, (str, bytes)):
                characters += len(child)
            if isinstance(child, int) and child.bit_length() > _MOST_BITS:
                raise PlainDataError(f"it holds a whole number of more than {_MOST_BITS} bits")
            if isinstance(child, dict):
                open_containers.append(itertools.chain.from_iterable(child.items()))
                break
            if isinstance(child, (list, tuple, set, frozenset)):
                open_containers.append(iter(child))
                break
        else:
            open_containers.pop()
        if len(open_containers) > MAX_DEPTH + 1:
            raise _too_deep()
        if values > most_values:
            raise PlainDataError(f"it holds more than {most_values:,} values")
        if characters > _MOST_CHARACTERS:
            raise PlainDataError(f"it holds more than {_MOST_CHARACTERS:,} characters")


def _parse(parse: Callable[[], Any]) -> Any:
    try:
        value = parse()
    except RecursionError:  # far beyond MAX_DEPTH, wherever this Python draws its line
        raise _too_deep() from None
    check_plain(value)
    return value


def _too_deep() -> PlainDataError:
    return PlainDataError(f"its lists and tables are nested deeper than {MAX_DEPTH} levels")
