"""What a compiled kernel takes of a multiprocessor, read from its cubin."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

from drnn_core.errors import InputError

# Attributes of the sections .nv.info*: a form, a kind, and two bytes of value or of size.
_SIZED = 4
_REGISTERS, _FRAME, _MOST_THREADS = 0x2F, 0x11, 0x05
_ELF = b"\x7fELF"


@dataclasses.dataclass(frozen=True)
class ImageInfo:
    """What a kernel takes.

    Attributes:
        registers: Of a thread.
        stack: Bytes of local memory of a thread; what is above 0 was spilled.
        threads: The largest block that it may be launched with.
    """

    registers: int
    stack: int
    threads: int


def read_image(image: bytes) -> ImageInfo:
    """Read what a kernel takes.

    Args:
        image: A cubin with one kernel, as `compile_kernel` gives it.

    Raises:
        InputError: It is no such cubin.
    """
    try:
        kinds: dict[int, tuple[int, ...]] = {}
        for section in _sections(image):
            kinds.update(_attributes(section))
        return ImageInfo(kinds[_REGISTERS][1], kinds[_FRAME][1], kinds[_MOST_THREADS][0])
    except (struct.error, KeyError, IndexError, ValueError) as error:
        raise InputError(f"this is no image of the kernel: {type(error).__name__}") from error


def _sections(image: bytes) -> Iterator[bytes]:
    """The contents of the sections whose names begin with .nv.info."""
    if image[:4] != _ELF:
        raise ValueError("no ELF")
    (start,) = struct.unpack_from("<Q", image, 0x28)
    size, count, names = struct.unpack_from("<HHH", image, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", image, start + index * size) for index in range(count)]
    *_, texts, _ = headers[names]
    for name, _, _, _, place, length in headers:
        if image[texts + name :].startswith(b".nv.info"):
            yield image[place : place + length]


def _attributes(section: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    at = 0
    while at < len(section):
        form, kind, size = struct.unpack_from("<BBH", section, at)
        at += 4
        if form == _SIZED:
            yield kind, struct.unpack_from(f"<{size // 4}I", section, at)
            at += size
