"""A pickle of torch, unpickled with stand-ins that make nothing: whether torch's own unpickler may read it.

`torch.load(weights_only=True)` calls only what is on its list, but with any arguments: nested calls of
`_codecs.encode` double a text each time, `set` counts a tensor of one number that is seen as a billion. Here every call
must be one that torch.save writes.
"""

from __future__ import annotations

import pickle
import pickletools
import re
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import torch

from drnn_core import bounds
from drnn_core.errors import InputError

_MOST_OPERATIONS = 2_000_000  # torch's unpickler is plain Python, and each may make an object
_MOST_LONG = 10_000  # whole numbers beyond 32 bits: a million that hash alike fill a dict for hours
_REBUILT = re.compile(
    r"torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|meta_tensor_no_storage)"
    r"|torch\._tensor _rebuild_from_type_v2"
)
_CONSTANT = re.compile(
    r"torch (Tensor|\w+Storage|float\w+|bfloat16|u?int\d+|bool|complex\d+)|torch\.storage \w+Storage"
    r"|torch\.nn\.parameter Parameter"
)
_TENSORS_OWN = frozenset(dir(torch.nn.Parameter))
_SIMPLE = (str, bytes, bool, int, float, complex, type(None))


class ForeignObjectError(ValueError):
    """A pickle names something that is neither a tensor nor plain data, or calls it as torch.save does not."""


class _StandIn:
    """In the place of a tensor, a storage or a constant: it has nothing and does nothing."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def __call__(self, *arguments: Any) -> Any:
        _require(False, self.name)


class _OrderedDict(dict[Any, Any]):
    def __init__(self, *pairs: Any) -> None:
        _require(not pairs or (len(pairs) == 1 and isinstance(pairs[0], list)), "OrderedDict")
        super().__init__()
        for pair in pairs[0] if pairs else ():
            _require(isinstance(pair, (list, tuple)) and len(pair) == 2, "OrderedDict")
            self[_hashed(pair[0])] = pair[1]

    def __setstate__(self, state: object) -> None:
        _require(isinstance(state, dict) and set(state) <= {"_metadata"}, "OrderedDict with attributes")


def _set(*values: Any) -> set[Any]:
    _require(len(values) == 1 and isinstance(values[0], list), "set")
    return {_hashed(value) for value in values[0]}


def _counter(*counts: Any) -> dict[Any, Any]:
    _require(not counts or (len(counts) == 1 and isinstance(counts[0], dict)), "Counter")
    return dict(*counts)


def _encode(*text: Any) -> bytes:
    _require(len(text) == 2 and isinstance(text[0], str) and text[1] == "latin1", "_codecs.encode")
    return str(text[0]).encode("latin1")


def _size(*numbers: Any) -> tuple[Any, ...]:
    _require(len(numbers) == 1 and isinstance(numbers[0], (list, tuple)), "torch.Size")
    return tuple(numbers[0])


def _of_texts(*arguments: object) -> _StandIn:
    _require(all(isinstance(argument, (str, int)) for argument in arguments), "torch.device")
    return _StandIn()


_CALLED: dict[str, Callable[..., object]] = {
    "collections OrderedDict": _OrderedDict,
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
            _require(len(arguments) == 4 and isinstance(arguments[0], _Rebuild), self.name)
            arguments[0](*arguments[2])
        if self.name.endswith(("_from_type_v2", "_with_state")):
            _check_attributes(arguments[-1])
        return _StandIn()


def _check_attributes(state: object) -> None:
    """Refuse attributes of a tensor that hide its own, such as its number of elements."""
    for part in state if isinstance(state, tuple) else (state,):
        own = _TENSORS_OWN & set(part) if isinstance(part, dict) else ()
        _require(isinstance(part, dict | None) and not own, "a tensor with attributes that hide its own")


def rehearse(file: BinaryIO, most: int) -> tuple[Any, set[Any]]:
    """Unpickle with stand-ins.

    Args:
        file: At the start of a pickle; left at its end.
        most: The most elements that its tensors may have in all.

    Returns:
        What the pickle holds, with stand-ins for all that is no plain data, and the keys of its tensors' storages.

    Raises:
        ForeignObjectError: It names something that is neither a tensor nor plain data.
        InputError: A tensor is sparse or quantised.
        ValueError: It takes more than its tensors have, or is no pickle.
    """
    start = file.tell()
    operations = long = 0
    for operation, value, _position in pickletools.genops(file):
        operations, long = operations + 1, long + (operation.name == "LONG1")
        if operations > _MOST_OPERATIONS or long > _MOST_LONG:
            raise bounds.TooLargeError("the plain data beside its tensors has more values than any network's")
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

    def find_class(self, module: str, name: str) -> Any:
        return _stand_in(module, name)

    def persistent_load(self, pid: Any) -> _StandIn:
        right = isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] in ("storage", b"storage")
        _require(right and isinstance(pid[1], _StandIn) and type(pid[4]) is int and pid[4] >= 0, "a storage")
        self.elements.setdefault(_hashed(pid[2]), pid[4])
        return _StandIn()

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.SETITEM[0]: lambda unpickler: _set_item(unpickler, pickle.SETITEM, unpickler.stack[-2:-1]),
        pickle.SETITEMS[0]: lambda unpickler: _set_item(unpickler, pickle.SETITEMS, unpickler.stack[::2]),
    }


def _set_item(unpickler: Any, operation: bytes, keys: list[Any]) -> None:
    for key in keys:
        _hashed(key)
    pickle._Unpickler.dispatch[operation[0]](unpickler)


def _stand_in(module: str, name: str) -> Any:
    full = f"{module} {name}"
    if full in _CALLED:
        return _CALLED[full]
    if _REBUILT.fullmatch(full):
        return _Rebuild(name)
    if _CONSTANT.fullmatch(full):
        return _StandIn(full)
    if full.startswith("torch._utils _rebuild_"):
        raise InputError(f"every tensor must be a dense tensor, and the file holds one for {full!r:.80}")
    raise ForeignObjectError(full)


def _hashed(key: Any) -> Any:
    """A key that is hashed at once: tuples within tuples can take for ever."""
    simple = isinstance(key, _SIMPLE) or (isinstance(key, tuple) and all(isinstance(part, _SIMPLE) for part in key))
    _require(simple, "a key that is no text and no number")
    return key


def _require(right: bool, what: str) -> None:
    if not right:
        raise ForeignObjectError(f"{what}, as torch.save does not write it")
