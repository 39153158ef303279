"""A pickle of torch, unpickled with stand-ins that make nothing: whether torch's own unpickler may read it.

`torch.load(weights_only=True)` calls only what is on its list, but with any arguments: nested calls of
`_codecs.encode` double a text each time, `set` counts a tensor of one number that is seen as a billion. Here every call
must be one that torch.save writes, and all of them together may make no more than a budget.
"""

from __future__ import annotations

import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import torch

from drnn_core import bounds
from drnn_core.errors import InputError

_OPERATIONS = re.compile(  # those of torch's unpickler, without NEWOBJ, which torch.save has not written
    "GLOBAL|REDUCE|BUILD|APPENDS?|SETITEMS?|MARK|TUPLE[123]?|NONE|NEWFALSE|NEWTRUE|EMPTY_(TUPLE|LIST|DICT|SET)|"
    "BININT[12]?|BINFLOAT|BINUNICODE|SHORT_BINSTRING|BINPERSID|(LONG_)?BINGET|(LONG_)?BINPUT|LONG1|PROTO|STOP"
)
_MOST_OPERATIONS = 2_000_000  # torch's unpickler is plain Python, and each may make an object
_MOST_LONG = 10_000  # whole numbers beyond 32 bits: a million that hash alike fill a dict for hours
_MOST_MADE = 1 << 26  # bytes, about, that calls may take: one argument may be in many
_REBUILT = re.compile(
    r"torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|meta_tensor_no_storage)"
    r"|torch\._tensor _rebuild_from_type_v2"
)
_CONSTANT = re.compile(
    r"torch (Tensor|\w+Storage|float\w+|bfloat16|u?int\d+|bool|complex\d+)|torch\.storage \w+Storage"
    r"|torch\.nn\.parameter Parameter"
)
_OF_TENSORS = {name for name in dir(torch.nn.Parameter) if not callable(getattr(torch.Tensor, name, None))} | {
    *("contiguous", "cpu", "detach", "element_size", "float"),  # which are called here
    *("is_floating_point", "numel", "numpy", "untyped_storage"),
}


class ForeignObjectError(ValueError):
    """A pickle names something that is neither a tensor nor plain data."""


class UnusualPickleError(ValueError):
    """A pickle does with tensors and plain data what torch.save does not write, or what would take too much."""


class _StandIn:
    """In the place of a tensor, a storage or a constant: it has nothing and does nothing."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __call__(self, *arguments: Any) -> Any:
        _require(False, f"calls {self.name}")


_KEYS = (str, bytes, int, type(None), _StandIn)  # whole numbers are counted: `_MOST_LONG`


class _OrderedDict(dict[Any, Any]):
    def __setstate__(self, state: object) -> None:
        right = isinstance(state, dict) and not set(state) & set(dir(OrderedDict))
        _require(right, "gives a dictionary attributes that hide its own")


def _ordered(*pairs: Any) -> _OrderedDict:
    _require(not pairs or (len(pairs) == 1 and isinstance(pairs[0], list)), "calls OrderedDict")
    made = _OrderedDict()
    for pair in pairs[0] if pairs else ():
        _require(isinstance(pair, (list, tuple)) and len(pair) == 2, "calls OrderedDict")
        made[_checked_key(pair[0])] = pair[1]
    return made


def _set(*values: Any) -> set[Any]:
    _require(len(values) == 1 and isinstance(values[0], list), "calls set")
    return {_checked_key(value) for value in values[0]}


def _counter(*counts: Any) -> dict[Any, Any]:
    _require(not counts or (len(counts) == 1 and isinstance(counts[0], dict)), "calls Counter")
    return dict(*counts)


def _encode(*text: Any) -> bytes:
    _require(len(text) == 2 and isinstance(text[0], str) and text[1] == "latin1", "calls _codecs.encode")
    return str(text[0]).encode("latin1")


def _size(*numbers: Any) -> tuple[Any, ...]:
    _require(len(numbers) == 1 and isinstance(numbers[0], (list, tuple)), "calls torch.Size")
    return tuple(numbers[0])


def _of_texts(*arguments: Any) -> _StandIn:
    _require(all(isinstance(argument, (str, int)) for argument in arguments), "calls torch.device")
    return _StandIn("torch.device")


_CALLED: dict[str, Callable[..., object]] = {
    "collections OrderedDict": _ordered,
    "collections Counter": _counter,
    "builtins set": _set,
    "__builtin__ set": _set,
    "_codecs encode": _encode,
    "torch Size": _size,
    "torch device": _of_texts,
    "torch.serialization _get_layout": _of_texts,
}


class _Rebuild(_StandIn):
    def __call__(self, *arguments: Any) -> _StandIn:
        if self.name.endswith("_from_type_v2"):
            _require(len(arguments) == 4 and isinstance(arguments[0], _Rebuild), f"calls {self.name}")
            arguments[0](*arguments[2])
        if self.name.endswith(("_from_type_v2", "_with_state")):
            _check_attributes(arguments[-1])
        return _StandIn("a tensor")


def _check_attributes(state: object) -> None:
    """Refuse attributes of a tensor that hide its own, such as its number of elements."""
    for part in state if isinstance(state, tuple) else (state,):
        own = _OF_TENSORS & set(part) if isinstance(part, dict) else ()
        _require(isinstance(part, dict | None) and not own, "gives a tensor attributes that hide its own")


def rehearse(file: BinaryIO, most: int) -> tuple[Any, set[Any]]:
    """Unpickle with stand-ins.

    Args:
        file: At the start of a pickle; left at its end.
        most: The most elements that its tensors may have in all.

    Returns:
        What the pickle holds, with stand-ins for all that is no plain data, and the keys of its tensors' storages.

    Raises:
        ForeignObjectError: It names something that is neither a tensor nor plain data.
        UnusualPickleError: It calls what it may name in a way that torch.save does not write.
        InputError: A tensor is sparse or quantised.
        pickle.UnpicklingError: It has an operation that torch does not read.
        ValueError: It takes more than its tensors have, or is no pickle.
    """
    start = file.tell()
    operations = long = 0
    for operation, value, _position in pickletools.genops(file):
        operations, long = operations + 1, long + (operation.name == "LONG1")
        if operations > _MOST_OPERATIONS or long > _MOST_LONG:
            raise bounds.TooLargeError("the plain data beside its tensors has more values than any network's")
        if not _OPERATIONS.fullmatch(operation.name):
            raise pickle.UnpicklingError(f"Unsupported operand {operation.name}")
        if operation.name == "GLOBAL":
            _stand_in(*str(value).split(" ", 1))
    file.seek(start)
    unpickler = _Unpickler(file, encoding="utf-8")
    content = unpickler.load()
    if (count := sum(unpickler.elements.values())) > most:
        raise bounds.TooLargeError(f"its tensors have {count:,} elements")
    return content, set(unpickler.elements)


class _Unpickler(pickle._Unpickler):  # the one in Python: the one in C hashes any key before it can be asked
    def __init__(self, file: BinaryIO, *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self.elements: dict[Any, int] = {}
        self._made = 0

    def find_class(self, module: str, name: str) -> Any:
        called = _CALLED.get(f"{module} {name}")
        return _stand_in(module, name) if called is None else _Call(self, called)

    def persistent_load(self, pid: Any) -> _StandIn:
        right = isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] in ("storage", b"storage")
        right = right and isinstance(pid[1], _StandIn) and isinstance(pid[2], (str, bytes, int))
        _require(right and type(pid[4]) is int and pid[4] >= 0, "has a storage of an unknown kind")
        self.elements.setdefault(pid[2], pid[4])
        return _StandIn("a storage")

    def spend(self, made: int) -> None:
        """Count what is made, in bytes or so."""
        self._made += made
        if self._made > _MOST_MADE:
            raise bounds.TooLargeError("the plain data beside its tensors would take more than any network's")

    def _set_items(self, operation: bytes, keys: list[Any]) -> None:
        for key in keys:
            _checked_key(key)
        pickle._Unpickler.dispatch[operation[0]](self)  # type: ignore[arg-type]

    def _build(self, built: object) -> None:
        _require(isinstance(built, _OrderedDict), "gives attributes to what is no dictionary")
        pickle._Unpickler.dispatch[pickle.BUILD[0]](self)  # type: ignore[arg-type]

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.SETITEM[0]: lambda self: self._set_items(pickle.SETITEM, self.stack[-2:-1]),
        pickle.SETITEMS[0]: lambda self: self._set_items(pickle.SETITEMS, self.stack[::2]),
        pickle.BUILD[0]: lambda self: self._build(self.stack[-2]),
    }


class _Call(_StandIn):
    """A function of `_CALLED`, which counts what it makes of its arguments."""

    def __init__(self, unpickler: _Unpickler, function: Callable[..., object]) -> None:
        super().__init__()
        self._unpickler, self._function = unpickler, function

    def __call__(self, *arguments: Any) -> Any:
        for argument in arguments:
            if isinstance(argument, (str, bytes)):
                self._unpickler.spend(len(argument))
            elif isinstance(argument, (list, tuple, dict)):
                self._unpickler.spend(64 * len(argument))
        return self._function(*arguments)


def _stand_in(module: str, name: str) -> Any:
    full = f"{module} {name}"
    if full in _CALLED:
        return None
    if _REBUILT.fullmatch(full):
        return _Rebuild(name)
    if _CONSTANT.fullmatch(full):
        return _StandIn(full)
    if full.startswith("torch._utils _rebuild_"):
        raise InputError(f"every tensor must be a dense tensor, and the file holds one for {full!r:.80}")
    raise ForeignObjectError(full)


def _checked_key(key: Any) -> Any:
    """A key whose hash nobody can choose: that of a tuple or a float is the same everywhere, and a few MB collide."""
    _require(isinstance(key, _KEYS), "has a key of a kind that is not read")
    return key


def _require(right: bool, what: str) -> None:
    if not right:
        raise UnusualPickleError(f"its pickle {what}")
