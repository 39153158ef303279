"""The plugin in C++, called as TensorRT's runtime does."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drnn_runtimes.cuda_kernel.host_build import cpp_compiler
from drnn_runtimes.plugin import stack


class CppPlugin:
    """The plugin of the C++ library, called as TensorRT's runtime does."""

    def __init__(self, library: ctypes.CDLL, fields: Mapping[str, NDArray[Any]], phase: int = 1) -> None:
        self._library, self.launched = library, list[ctypes.c_void_p]()
        for name in ("make", "attach", "copy"):
            getattr(library, name).restype = ctypes.c_void_p
        library.serialised_bytes.restype = ctypes.c_longlong
        count = len(fields)
        names = (ctypes.c_char_p * count)(*(name.encode() for name in fields))
        data = (ctypes.c_void_p * count)(*(value.ctypes.data for value in fields.values()))
        words = (ctypes.c_int * count)(*(value.dtype == np.int32 for value in fields.values()))
        lengths = (ctypes.c_int * count)(*(value.size for value in fields.values()))
        self.made = library.make(count, names, data, words, lengths, phase)

    def attached(self) -> int | None:
        """The plugin of a context, or None where the library refuses."""
        address: int | None = self._library.attach(ctypes.c_void_p(self.made))
        return address

    def enqueue(
        self, described: list[Any], given: list[Any], inputs: list[int], outputs: list[int], workspace: int, stream: Any
    ) -> None:
        """As NVIDIA's own."""
        plugin = ctypes.c_void_p(self.attached())  # which must last until the stream is through
        shapes = [size for one in described for size in (*one.dims, 1, 1)[:3]]
        arrays = [(ctypes.c_void_p * len(side))(*side) for side in (inputs, outputs)]
        answers, sizes = self.answers, (ctypes.c_longlong * len(shapes))(*shapes)
        place, on = ctypes.c_void_p(workspace), ctypes.c_void_p(int(stream))
        assert self._library.enqueue(plugin, len(inputs), sizes, answers, *arrays, place, on) == 0
        self.launched.append(plugin)

    def close(self) -> None:
        """Unload what was launched."""
        for plugin in self.launched:
            self._library.destroy(plugin)
        self.launched.clear()

    answers = 0


@functools.cache
def cpp_library() -> ctypes.CDLL:
    """The plugin in C++ with what calls it, against a stand-in for NVIDIA's header."""
    here = Path(__file__).parent / "cpp"
    source = Path(stack.__file__).parent / "cpp"
    with tempfile.TemporaryDirectory() as folder:
        made, compiler = Path(folder) / "plugin.so", cpp_compiler()
        assert compiler
        flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{here}", f"-I{source}"]
        flags.append("-Wl,-Bsymbolic")  # so that it takes memory from calls.cpp, whatever was loaded before
        files = [str(here / "calls.cpp"), str(source / "drnn_plugin.cpp")]
        subprocess.run([compiler, *flags, "-o", str(made), *files, "-ldl"], check=True)
        return ctypes.CDLL(str(made))
