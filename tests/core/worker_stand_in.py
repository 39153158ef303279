"""A child for the tests of `drnn_core.worker_process`: what the request's "do" says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from typing import Any

from drnn_core.worker_process import answer

MEMORY = 1_000_000_000


def rows(count: int) -> Generator[dict[str, Any], None, dict[str, Any]]:
    for number in range(count):
        yield {"number": number}
        if number == 2:
            os.abort()
    return {"process": os.getpid()}


def reply(request: Mapping[str, Any]) -> Mapping[str, Any] | Generator[dict[str, Any], None, dict[str, Any]]:
    what = request["do"]
    if what == "rows":
        return rows(request["count"])
    if what == "abort":
        sys.stderr.write("about to end\n")
        os.abort()
    if what == "exit":
        sys.exit(0)
    if what == "raise":
        raise ValueError("words of the error")
    if what == "allocate":
        return {"bytes": len(bytearray(request["bytes"]))}
    if what in ("hang", "start and fail"):
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        with open(request["file"], "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{os.getpid()} {sleeper.pid}")
        if what == "start and fail":
            os.abort()
        time.sleep(60)
    if what == "leave":  # a grandchild that goes on, with this process's standard error
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(5)"])
    sys.stdout.write("not part of the reply\n")
    return {"request": dict(request), "path": sys.path, "variable": os.environ.get("SOME_VARIABLE")}


if __name__ == "__main__":
    answer(reply, memory=MEMORY)
