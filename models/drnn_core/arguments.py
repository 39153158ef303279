"""Arguments of public functions, checked against their annotations: a wrong one is an `InputError` with the fix."""

from __future__ import annotations

import collections.abc
import contextlib
import difflib
import functools
import inspect
import math
import numbers
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from drnn_core.errors import InputError
from drnn_core.files import check_name

P = ParamSpec("P")
R = TypeVar("R")
Class = TypeVar("Class", bound=type)
_MAKES = {  # name of a class -> how to make one of the text or path that was given in its place
    "Bundle": "Open it first: Bundle.open({!r})",
    "Checkpoint": "Read it first: load_checkpoint({!r})",
    "GraphInfo": "Take bundle.graph({!r})",
    "Recipe": "Read it first: load_recipe({!r})",
    "Runtime": "Take find_runtime({!r})",
    "StreamState": "Read it first: StreamState.load({!r}), or use load_state",
}
_WORDS = {"str": "text", "int": "a whole number", "float": "a number", "bool": "True or False", "NoneType": "None"}
_PLAIN = str, bytes, int, float, complex, Path, list, tuple, dict, type(None)  # which no protocol of ours describes
_LONGEST = 60  # characters of a value in a message


def checked_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function refuse arguments that its annotations do not have, before it begins.

    Lists are taken where tuples are asked for, and text where only paths are. Annotations that cannot be read at run
    time are not checked.

    Args:
        function: Any function or method; or a function that makes a context manager.

    Returns:
        The function, which raises `InputError` for arguments that are missing, unknown or of another type.
    """
    name = function.__qualname__.removesuffix(".__init__").replace("StreamingRuntime", "Runtime")

    @functools.cache
    def signature() -> tuple[inspect.Signature, dict[str, Any]]:
        made = inspect.signature(function)
        return made, {p.name: _resolved(function, p.annotation) for p in made.parameters.values() if _is_single(p)}

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        made, hints = signature()
        bound = _bound(name, made, args, kwargs)
        for argument, value in bound.arguments.items():
            if argument in hints and argument not in ("self", "cls"):
                bound.arguments[argument] = _taken(name, argument, value, hints[argument])
        return function(*bound.args, **bound.kwargs)

    return call


def checked_fields(cls: Class) -> Class:
    """Make a dataclass refuse fields that it does not have, and values that their annotations do not have.

    Args:
        cls: The dataclass.
    """
    cls.__init__ = checked_arguments(cls.__init__)  # type: ignore[misc]
    return cls


def named_fields(cls: Class) -> Class:
    """Make a dataclass refuse fields that it does not have; it checks their values itself.

    Args:
        cls: The dataclass.
    """
    make: Callable[..., None] = cls.__init__  # type: ignore[misc]
    name, made = cls.__name__, inspect.signature(make)

    @functools.wraps(make)
    def call(*args: Any, **kwargs: Any) -> None:
        _bound(name, made, args, kwargs)
        make(*args, **kwargs)

    cls.__init__ = call  # type: ignore[misc]
    return cls


def _is_single(parameter: inspect.Parameter) -> bool:
    return parameter.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _resolved(function: Any, annotation: Any) -> Any:
    """What an annotation means; Any where its names are those of type checkers alone."""
    if not isinstance(annotation, str):
        return annotation if annotation is not inspect.Parameter.empty else Any
    try:
        return eval(annotation, vars(sys.modules[inspect.unwrap(function).__module__]))  # our own source
    except (NameError, AttributeError, TypeError):
        return Any


def _bound(name: str, signature: inspect.Signature, args: Any, kwargs: Any) -> inspect.BoundArguments:
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        known = [parameter for parameter in signature.parameters if parameter not in ("self", "cls")]
        close = [
            match for given in kwargs if given not in known for match in difflib.get_close_matches(given, known, 1)
        ]
        fix = f"Did you mean {close[0]!r}?" if close else f"It takes: {', '.join(known)}."
        raise InputError(f"{name}: {error}", fix) from None


def _taken(name: str, argument: str, value: Any, hint: Any) -> Any:
    """The value; a tuple in the place of a list, a path in that of text, and Python's number in that of NumPy's."""
    kinds = _kinds(hint)
    if isinstance(value, numbers.Real) and not isinstance(value, (int, float)) and not _fits(value, hint):
        value = int(value) if isinstance(value, numbers.Integral) else float(value)
    if isinstance(value, list) and any(get_origin(kind) is tuple for kind in kinds):
        value = tuple(value)
    if isinstance(value, str) and Path in kinds and str not in kinds:
        value = Path(value)
    if not _fits(value, hint):
        raise InputError(f"{name}: {argument} must be {_said(hint)}, got {_shown(value)}", _fix(argument, value, hint))
    if Path in kinds and isinstance(value, (str, Path)):
        check_name(value)
    return value


def _kinds(hint: Any) -> Sequence[Any]:
    """The parts of a union, or the hint alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    return any(_fits_one(value, kind) for kind in _kinds(hint))


def _fits_one(value: Any, kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is None:
        return value is None
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and _parts_fit(value, parts)
    if origin is collections.abc.Callable:
        return callable(value)
    if isinstance(origin, type) and issubclass(origin, Mapping):  # also dict: any mapping will do
        return isinstance(value, Mapping)
    if isinstance(origin, type):  # a sequence, a collection, an array
        text = isinstance(value, (str, bytes)) and issubclass(origin, collections.abc.Iterable)
        return (
            isinstance(value, origin) and not text and (not isinstance(value, (list, tuple)) or _all_fit(value, parts))
        )
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if not isinstance(kind, type) or kind in (Any, object):
        return True
    if getattr(kind, "_is_protocol", False):  # anything may have its methods, or those of them that are called
        return not isinstance(value, _PLAIN)
    return isinstance(value, kind)


def _parts_fit(value: tuple[Any, ...], parts: tuple[Any, ...]) -> bool:
    if len(parts) == 2 and parts[1] is Ellipsis:
        return _all_fit(value, parts)
    return len(value) == len(parts) and all(map(_fits, value, parts))


def _all_fit(value: Sequence[Any], parts: tuple[Any, ...]) -> bool:
    return not parts or all(_fits(item, parts[0]) for item in value)


def _said(hint: Any) -> str:
    """What is asked for, in words."""
    words = dict.fromkeys(_said_one(kind) for kind in _kinds(hint))
    if "a path" in words:
        words.pop("text", None)
    return " or ".join(words)


def _said_one(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is None:
        return "None"
    if origin is Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if origin is tuple and parts[-1] is not Ellipsis:
        return f"{len(parts)} values, each {_said(parts[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a dictionary"
    if origin is collections.abc.Callable:
        return "a function"
    if isinstance(origin, type) and parts and issubclass(origin, collections.abc.Collection):
        return "an array" if origin.__name__ == "ndarray" else f"a tuple or list ({_said(parts[0])} each)"
    name = getattr(kind, "__name__", str(kind))
    return "a path" if kind is Path else _WORDS.get(name, f"a{'n' * (name[0] in 'AEIOU')} {name}")


def _shown(value: Any) -> str:
    """A value that is short to write as it is written, any other by its type."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)[:_LONGEST]
    if isinstance(value, (tuple, list)) and len(repr(value)) <= _LONGEST:
        return repr(value)
    return type(value).__name__


def _fix(argument: str, value: Any, hint: Any) -> str:
    """What to write in the place of a value."""
    kinds = _kinds(hint)
    items = [part for kind in kinds for part in get_args(kind)[:1] if get_origin(kind) not in (None, Literal)]
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    close = difflib.get_close_matches(value, choices, 1) if isinstance(value, str) else []
    if close:
        return f"Did you mean {close[0]!r}?"
    if choices:
        return f"Choose from: {', '.join(map(repr, choices))}."
    if isinstance(value, str) and any(_fits(value, item) for item in items):
        return f"Write {argument}=({value!r},)"
    return next(_makings(value, [*kinds, *items]), "") or _number(argument, value, kinds)


def _makings(value: Any, kinds: Sequence[Any]) -> Iterator[str]:
    """How to make what is asked for of a text or path, or of the first one in a list."""
    texts = [item for item in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(item, (str, Path))]
    for kind in kinds:
        if texts and getattr(kind, "__name__", "") in _MAKES:
            yield _MAKES[kind.__name__].format(str(texts[0]))


def _number(argument: str, value: Any, kinds: Sequence[Any]) -> str:
    for kind in (kind for kind in (int, float) if kind in kinds and isinstance(value, str)):
        with contextlib.suppress(ValueError):  # text that is no such number
            if math.isfinite(number := kind(value)):
                return f"Write {argument}={number!r}"
    name = getattr(value, "name", None)
    if str in kinds and isinstance(name, str):
        return f"Give its name: {name!r}"
    if any(kind is Path for kind in kinds):
        return "Give a path, as text or as a pathlib.Path."
    return f"Give {_said(Union[tuple(kinds)])}."  # noqa: UP007  of a computed list
