"""What torch's own loader would do with a file, found out before it is asked: sizes, and the names in its pickles.

`torch.load(weights_only=True)` runs no code of a file, but allocates whatever a few bytes of pickle ask for. Needs no
torch.
"""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from pathlib import Path
from typing import BinaryIO

from drnn_core import bounds
from drnn_core.errors import InputError

_MOST_BYTES = 64 << 20  # of a pickle: the names and plain data beside the tensors
_MOST_OPERATIONS = 2_000_000  # torch's unpickler is plain Python, and each may make an object
_MOST_LONG = 10_000  # whole numbers beyond 32 bits: a million that hash alike fill a dict for hours
_OLD_FORMAT = 5  # pickles of a file before torch 1.6: magic number, version, system, data, keys of the storages
_OF_STATE_DICTS = re.compile(
    r"torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|meta_tensor_no_storage)"
    r"|torch\._tensor _rebuild_from_type_v2|torch\.nn\.parameter Parameter|torch\.serialization _get_layout"
    r"|torch (Tensor|Size|device|\w+Storage|float\w+|bfloat16|u?int\d+|bool|complex\d+)|torch\.storage \w+Storage"
    r"|collections (OrderedDict|Counter)|_codecs encode|(builtins|__builtin__) set"
)


class ForeignObjectError(ValueError):
    """A pickle names something that is neither a tensor nor plain data."""


def check_torch_file(path: Path) -> None:
    """Check that loading a file makes nothing but tensors and plain data, and takes no more memory than they have.

    Args:
        path: The file, of torch's archive format or the one before.

    Raises:
        OSError: It cannot be read.
        zipfile.BadZipFile: A part's checksum is wrong; torch itself reads flipped bits as weights.
        ForeignObjectError: It names something else.
        InputError: A tensor is sparse, quantised or on no device.
        ValueError: It is too large, or no pickle.
    """
    with bounds.open_file(path) as file:
        if zipfile.is_zipfile(file):
            with bounds.open_zip(file, bounds.UNPACKED) as parts:
                if damaged := parts.testzip():
                    raise zipfile.BadZipFile(damaged)
                for part in parts.infolist():
                    if part.filename.endswith("data.pkl"):
                        if part.file_size > _MOST_BYTES:
                            raise bounds.TooLargeError(f"its pickle is {bounds.shown_bytes(part.file_size)} long")
                        _check_pickles(io.BytesIO(parts.read(part)), 1)
            return
        if (size := path.stat().st_size) > bounds.UNPACKED:
            raise bounds.TooLargeError(f"it is {bounds.shown_bytes(size)} long")
        file.seek(0)
        _check_pickles(file, _OLD_FORMAT)


def _check_pickles(file: BinaryIO, count: int) -> None:
    operations = long = 0
    for _ in range(count):
        if not file.read(1):  # one pickle alone, which torch refuses with words of its own
            return
        file.seek(-1, io.SEEK_CUR)
        for operation, value, _position in pickletools.genops(file):
            operations, long = operations + 1, long + (operation.name == "LONG1")
            if operations > _MOST_OPERATIONS or long > _MOST_LONG:
                raise bounds.TooLargeError("the plain data beside its tensors has more values than any network's")
            if operation.name == "GLOBAL" and not _OF_STATE_DICTS.fullmatch(str(value)):
                _refuse(str(value))


def _refuse(name: str) -> None:
    if name.startswith("torch._utils _rebuild_"):
        raise InputError(f"every tensor must be a dense tensor, and the file holds one for {name!r:.80}")
    raise ForeignObjectError(name)
