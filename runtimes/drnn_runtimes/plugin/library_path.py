"""Where TensorRT-RTX's parser finds TensorRT-RTX.

Where it meets a plugin it loads "libtensorrt_rtx.so", which the Python package does not have (only .so.1), and ends the
process otherwise. So the process that parses is given a folder with that name on its search path. The path of a process
that runs already cannot be changed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PACKAGE, _WANTED = "tensorrt_rtx_libs", "libtensorrt_rtx.so"
_SEARCHED = "LD_LIBRARY_PATH"


@contextlib.contextmanager
def plugin_environment() -> Iterator[dict[str, str] | None]:
    """The environment for a process in which a parser may meet a plugin.

    Yields:
        The variables, or None where those of this process will do. The folder on the path goes with the context.
    """
    library = _library()
    if library is None:
        yield None
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        (Path(folder) / _WANTED).symlink_to(library)
        searched = [folder, *filter(None, [os.environ.get(_SEARCHED)])]
        yield {**os.environ, _SEARCHED: os.pathsep.join(searched)}


def _library() -> Path | None:
    """The library of the Python package, where it has not the name that the parser asks for."""
    found = importlib.util.find_spec(_PACKAGE)
    for place in (found.submodule_search_locations or ()) if found else ():
        versions = sorted(Path(place).glob(f"{_WANTED}.*"))
        if versions and not (Path(place) / _WANTED).exists():
            return versions[0].absolute()
    return None
