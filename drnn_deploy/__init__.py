"""Dilated recurrent networks from PyTorch to ONNX and TensorRT, with proof that every runtime computes the same.

from drnn_deploy import export, ExportOptions
result = export("model.pt", "bundle", ExportOptions(batch=8))
assert result.exit_code == 0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drnn_deploy.exporter.options import ExportOptions
    from drnn_deploy.exporter.pipeline import ExportResult, export

__all__ = ["ExportOptions", "ExportResult", "export"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'drnn_deploy' has no attribute {name!r}")
    from drnn_deploy.exporter import options, pipeline  # import torch, which `--help` must not wait for

    return getattr(options if name == "ExportOptions" else pipeline, name)
