"""Weights and spec to an ONNX graph to a TensorRT engine. Imports no torch."""

from typing import TYPE_CHECKING

from drnn_core.public_names import public_names

if TYPE_CHECKING:
    from drnn_export.emitter.emit import Estimate, emit, estimate
    from drnn_export.emitter.request import GraphRequest
    from drnn_export.engine.build import backend_availability, build_engine, build_targets
    from drnn_export.engine.config import BuildControls
    from drnn_export.lint.linter import lint_file, lint_model
    from drnn_export.lint.tables import Finding
    from drnn_export.named_graph import Difference
    from drnn_export.onnx_diff import differences

    __version__: str
else:
    __getattr__, __dir__ = public_names(
        __name__,
        {
            "drnn_export.emitter.emit": ("Estimate", "emit", "estimate"),
            "drnn_export.emitter.request": ("GraphRequest",),
            "drnn_export.engine.build": ("backend_availability", "build_engine", "build_targets"),
            "drnn_export.engine.config": ("BuildControls",),
            "drnn_export.lint.linter": ("lint_file", "lint_model"),
            "drnn_export.lint.tables": ("Finding",),
            "drnn_export.named_graph": ("Difference",),
            "drnn_export.onnx_diff": ("differences",),
        },
    )

__all__ = [
    "BuildControls",
    "Difference",
    "Estimate",
    "Finding",
    "GraphRequest",
    "backend_availability",
    "build_engine",
    "build_targets",
    "differences",
    "emit",
    "estimate",
    "lint_file",
    "lint_model",
]
