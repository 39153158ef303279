"""NVIDIA's two Python modules with one API, and their ONNX parser: a graph becomes an `INetworkDefinition`.

Needs no GPU, and neither module to be imported.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any, Literal

from drnn_core.environment import release
from drnn_core.types import PRECISIONS

Flavour = Literal["tensorrt", "tensorrt-rtx"]

_TENSORRT_SINCE = (10, 3)
_DATA_TYPES = {info.tensorrt: info.dtype for info in PRECISIONS.values()}  # the others are NumPy's names in capitals


@dataclasses.dataclass(frozen=True)
class TensorRTModule:
    """One of NVIDIA's two Python modules with the same API, imported.

    Attributes:
        title: What NVIDIA calls it.
        packages: What `pip install` takes.
        loaded: The module, or None where it cannot be used.
        version: Its version.
        reason: Why it cannot be used.
    """

    title: str
    packages: str
    loaded: Any = None
    version: str = ""
    reason: str = ""


_MODULES = {
    "tensorrt": ("tensorrt", TensorRTModule("TensorRT", "tensorrt cuda-bindings")),
    "tensorrt-rtx": ("tensorrt_rtx", TensorRTModule("TensorRT-RTX", "tensorrt-rtx-cu13 cuda-bindings")),
}


class RefusedError(Exception):
    """NVIDIA's parser or compiler does not take the graph.

    Attributes:
        details: NVIDIA's own words.
    """

    def __init__(self, message: str, details: list[str]) -> None:
        super().__init__(message)
        self.details = details


def tensorrt_module(flavour: Flavour) -> TensorRTModule:
    """Import NVIDIA's module for `flavour`. It never raises: a module that cannot be imported comes with the reason."""
    name, module = _MODULES[flavour]
    try:
        loaded = importlib.import_module(name)
        version = str(loaded.__version__)
        loaded.Builder, loaded.Runtime  # noqa: B018  an empty folder of that name would be imported as well
    except ModuleNotFoundError as error:
        missing = f"the Python module {error.name} is not installed"
        return dataclasses.replace(module, reason=missing)
    except Exception as error:  # NVIDIA's modules load libraries on import and raise whatever that raises
        return dataclasses.replace(module, reason=f"{name} cannot be imported: {error}")
    if name == "tensorrt" and release(version) < _TENSORRT_SINCE:
        return dataclasses.replace(module, reason=f"tensorrt {version} is too old, 10.3 or later is needed")
    return dataclasses.replace(module, loaded=loaded, version=version)


def collecting_logger(module: Any) -> Any:
    """Make an `ILogger` of `module` that keeps `errors` and `layers` (of engines), and prints none."""

    class Collector(module.ILogger):  # type: ignore[misc]  # NVIDIA's modules carry no types
        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []
            self.layers: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            levels = module.ILogger.Severity
            if severity in (levels.INTERNAL_ERROR, levels.ERROR):
                self.errors.append(message)
            elif message.startswith("Layers:"):
                self.layers.append(message)

    return Collector()


def data_type(value: Any) -> str:
    """NumPy's name of a TensorRT `DataType`, for example "float32" for FLOAT."""
    name = str(value.name)
    return _DATA_TYPES.get(name, name.lower())


def parse_network(module: Any, builder: Any, logger: Any, onnx: str) -> Any:
    """Parse a graph into a strongly typed network: precisions are what the graph says.

    Args:
        module: NVIDIA's module.
        builder: Its builder, which must live as long as the network.
        logger: Of `collecting_logger`.
        onnx: The path of the graph.

    Returns:
        An `INetworkDefinition`.

    Raises:
        RefusedError: The parser does not take the graph.
    """
    flag = getattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # once every network is, it may go
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    if flag is not None and not network.get_flag(flag):
        raise RefusedError("the builder does not make strongly typed networks", logger.errors)
    parser = module.OnnxParser(network, logger)
    if not parser.parse_from_file(onnx):
        problems = [_located(parser.get_error(index)) for index in range(parser.num_errors)]
        raise RefusedError("the ONNX parser does not take it", problems or logger.errors)
    return network


def _located(error: Any) -> str:
    """One parser error as: node NAME (OPERATOR): reason."""
    reason = str(error.desc()).strip()
    if reason in ("", "false"):  # the parser's check for an operator that it has never heard of or cannot do here
        reason = "this operator is not supported"
    if not error.node_operator():
        return reason
    return f"node {error.node_name() or error.node()!r} ({error.node_operator()}): {reason}"
