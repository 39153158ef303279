"""Runs NVIDIA's builder (`drnn_export.engine.worker`) in a process of its own, and explains how that ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drnn_core.errors import EngineError
from drnn_core.worker_process import ChildError, ask
from drnn_runtimes.plugin.library_path import plugin_environment

EXPORT = "drnn-export model.pt --output DIR"
OTHER_FORM = f"Export with the other --style, or without an engine: {EXPORT} --engine none"
_TAIL = 6  # of the builder's errors, that a message repeats


def run_builder(onnx: Path, request: Mapping[str, Any], title: str, time_limit: float) -> dict[str, Any]:
    """Run one build in a worker process.

    Args:
        onnx: The graph, for messages.
        request: See `drnn_export.engine.worker`.
        title: NVIDIA's module with its version, for messages.
        time_limit: Seconds.

    Returns:
        The reply, see `drnn_export.engine.worker`.

    Raises:
        EngineError: The builder refuses the graph, crashes or runs out of time.
    """
    try:
        with plugin_environment() as environment:
            reply = ask("drnn_export.engine.worker", request, time_limit, environment)
    except ChildError as error:
        if error.late:
            what = f"the builder had not compiled {onnx.name} after {time_limit:g} s and was stopped"
            raise EngineError(what, f"Use --style operator, or give it longer: {EXPORT} --engine-seconds N") from None
        raise EngineError(f"the builder crashed on {onnx.name}: {error.how}", OTHER_FORM) from None
    if "error" in reply:
        raise _refusal(onnx, title, reply)
    return reply


def _refusal(onnx: Path, title: str, reply: Mapping[str, Any]) -> EngineError:
    details = [f"  {' '.join(text.split())}" for text in reply["details"]]
    more = [f"  and {len(details) - _TAIL} more"] if len(details) > _TAIL else []
    message = f"{title} cannot build {onnx.name}: {reply['error']}"
    return EngineError("\n".join([message, *details[:_TAIL], *more]), OTHER_FORM)
