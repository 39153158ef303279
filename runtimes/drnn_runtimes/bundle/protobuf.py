"""How many messages a protobuf file holds, counted without parsing it: two bytes can make one of a hundred."""

from __future__ import annotations

import functools
from typing import Any

MOST_MESSAGES = 3_000_000  # in one file: parsed, under half a GB, and 3 s to count
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types, protobuf.dev/programming-guides/encoding


def has_more_messages(data: bytes, descriptor: Any, most: int) -> bool:
    """Whether a message holds more than `most` others and pieces of text, those inside each other counted.

    Args:
        data: The encoded message.
        descriptor: Protobuf's descriptor of it.
        most: Where to stop counting.

    Returns:
        Whether there are more. What is no such message, and so will not be parsed, counts up to its first fault.
    """
    if len(data) <= 2 * most:  # each has two bytes at least
        return False
    waiting, count = [(0, len(data), descriptor)], 0
    while waiting:
        at, end, kind = waiting.pop()
        inside = _messages(kind)
        while at < end:
            key, at = _varint(data, at) if data[at] > 127 else (data[at], at + 1)
            wire = key & 7
            if wire == _BYTES:
                if at >= end:
                    break
                size, at = _varint(data, at) if data[at] > 127 else (data[at], at + 1)
                count += 1
                if count > most:
                    return True
                if size and key >> 3 in inside:
                    waiting.append((at, min(at + size, end), inside[key >> 3]))
                at += size
            elif wire == _VARINT:
                _, at = _varint(data, at)
            elif wire in (_FIXED64, _FIXED32):
                at += 8 if wire == _FIXED64 else 4
            else:  # groups, which ONNX has none of
                return False
    return False


@functools.cache
def _messages(descriptor: Any) -> dict[int, Any]:
    """The fields that are messages, by number."""
    fields = descriptor.fields_by_number.items()
    return {number: field.message_type for number, field in fields if field.message_type is not None}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends; past the end, zeros."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            break
    return value, at
