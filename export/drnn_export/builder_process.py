"""Runs NVIDIA's builder (`drnn_export.tensorrt_worker`) in a process of its own, and explains how that ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drnn_models.errors import EngineError

EXPORT = "drnn-export model.pt --output DIR"
OTHER_FORM = f"Export with the other --emission, or without an engine: {EXPORT} --engine none"
_TAIL = 6  # lines of a crashed builder's output, and of its errors, that a message repeats


def run_builder(onnx: Path, request: Mapping[str, Any], title: str, time_limit: float) -> dict[str, Any]:
    """Run one build in a child process, with this process's import path, and return its reply.

    request, reply: see `drnn_export.tensorrt_worker`. title: of NVIDIA's module, with its version. time_limit: seconds.
    Raises `EngineError` where the builder refuses the graph, crashes or runs out of time.
    """
    command = [sys.executable, "-P", "-m", "drnn_export.tensorrt_worker"]
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        try:
            answer, output = process.communicate(json.dumps(dict(request)), timeout=time_limit)
        except subprocess.TimeoutExpired:
            what = f"the builder had not compiled {onnx.name} after {time_limit:g} s and was stopped"
            raise EngineError(what, f"Use --emission fused, or give it longer: {EXPORT} --engine-seconds N") from None
        finally:
            process.kill()
    if process.returncode != 0:
        raise EngineError(f"the builder crashed on {onnx.name}: {_ending(process.returncode, output)}", OTHER_FORM)
    reply: dict[str, Any] = json.loads(answer)
    if "error" in reply:
        raise _refusal(onnx, title, reply)
    return reply


def _ending(code: int, output: str) -> str:
    """How a process ended, and the last lines that it wrote."""
    if code < 0:
        known = {number.value: number.name for number in signal.Signals}
        how = f"killed by {known.get(-code, f'signal {-code}')}"
        if -code == signal.SIGKILL:
            how += " (the system does that when memory runs out)"
    else:
        how = f"exit code {code}"
    return "\n".join([how, *output.strip().splitlines()[-_TAIL:]])


def _refusal(onnx: Path, title: str, reply: Mapping[str, Any]) -> EngineError:
    details = [f"  {' '.join(text.split())}" for text in reply["details"]]
    more = [f"  and {len(details) - _TAIL} more"] if len(details) > _TAIL else []
    message = f"{title} cannot build {onnx.name}: {reply['error']}"
    return EngineError("\n".join([message, *details[:_TAIL], *more]), OTHER_FORM)
