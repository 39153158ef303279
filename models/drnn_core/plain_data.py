"""Plain data out of files: JSON, TOML and what a pickle of lists and dicts holds, within limits of the product's own.

Parsers and `json.dumps` recurse as deep as the interpreter lets them, which differs between Pythons. These limits are
the same on all of them.
"""

from __future__ import annotations

import functools
import itertools
import json
import tomllib
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

MAX_DEPTH = 64  # lists and dicts within each other; the product's own files have at most 8
MAX_VALUES = 10_000_000  # counted as they would be written: a pickle may hold one list in many places


class PlainDataError(ValueError):
    """Data beyond `MAX_DEPTH` or `MAX_VALUES`."""


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

    return jsonschema.exceptions.best_match(_validator(package, name).iter_errors(value))


@functools.cache
def _validator(package: str, name: str) -> Any:
    import jsonschema

    schema = shipped_json(package, name)
    return jsonschema.validators.validator_for(schema)(schema)


def check_plain(value: object) -> None:
    """Check that lists, tuples, sets and dicts stay within the limits, without recursion.

    Args:
        value: Anything; what is no container counts as one value.

    Raises:
        PlainDataError: They are nested deeper than `MAX_DEPTH` (as one that contains itself is), or hold more than
            `MAX_VALUES` values.
    """
    open_containers: list[Iterator[Any]] = [iter((value,))]
    values = 0
    while open_containers:
        for child in open_containers[-1]:
            values += 1
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
        if values > MAX_VALUES:
            raise PlainDataError(f"it holds more than {MAX_VALUES:,} values")


def _parse(parse: Callable[[], Any]) -> Any:
    try:
        value = parse()
    except RecursionError:  # far beyond MAX_DEPTH, wherever this Python draws its line
        raise _too_deep() from None
    check_plain(value)
    return value


def _too_deep() -> PlainDataError:
    return PlainDataError(f"its lists and tables are nested deeper than {MAX_DEPTH} levels")
