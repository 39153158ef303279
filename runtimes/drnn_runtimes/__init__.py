"""Runtimes for bundles: the same verbs over NumPy, PyTorch, ONNX Runtime and TensorRT."""

import os
from typing import TYPE_CHECKING

from drnn_core.public_names import public_names

if TYPE_CHECKING:
    from drnn_runtimes.bundle import Bundle, EngineInfo, GoldenCase, GraphInfo
    from drnn_runtimes.reference.loop import Reference, run_reference
    from drnn_runtimes.registry import RUNTIMES, find_runtime, require
    from drnn_runtimes.runtime import Runtime
    from drnn_runtimes.session import Session
    from drnn_runtimes.streaming.state import StreamState
    from drnn_runtimes.streaming.stream import Stream

    __version__: str
else:
    __getattr__, __dir__ = public_names(
        __name__,
        {
            "drnn_runtimes.bundle": ("Bundle", "EngineInfo", "GoldenCase", "GraphInfo"),
            "drnn_runtimes.reference.loop": ("Reference", "run_reference"),
            "drnn_runtimes.registry": ("RUNTIMES", "find_runtime", "require"),
            "drnn_runtimes.runtime": ("Runtime",),
            "drnn_runtimes.session": ("Session",),
            "drnn_runtimes.streaming.state": ("StreamState",),
            "drnn_runtimes.streaming.stream": ("Stream",),
        },
    )

__all__ = [
    "RUNTIMES",
    "Bundle",
    "EngineInfo",
    "GoldenCase",
    "GraphInfo",
    "Reference",
    "Runtime",
    "Session",
    "Stream",
    "StreamState",
    "find_runtime",
    "require",
    "run_reference",
]

# ONNX Runtime from 1.29 on reports each session to its makers, and complains where there is no home folder to keep a
# number of this machine in. Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
