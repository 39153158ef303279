"""NVIDIA's ONNX parser, with either of its modules: a graph becomes an `INetworkDefinition`. Needs no GPU."""

from __future__ import annotations

from typing import Any


class RefusedError(Exception):
    """NVIDIA's parser or compiler does not take the graph; `details` are its own words."""

    def __init__(self, message: str, details: list[str]) -> None:
        super().__init__(message)
        self.details = details


def parse_network(module: Any, builder: Any, logger: Any, onnx: str) -> Any:
    """The network that the parser makes of the file `onnx`, strongly typed: precisions are what the graph says.

    builder: of `module`, and alive for as long as the network is. logger: `drnn_core.gpu.collecting_logger`. Raises
    `RefusedError` for a graph that the parser does not take.
    """
    flag = getattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # once every network is, it may go
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    if flag is not None and not network.get_flag(flag):
        raise RefusedError("the builder does not make strongly typed networks", logger.errors)
    parser = module.OnnxParser(network, logger)
    if not parser.parse_from_file(onnx):
        found = [_located(parser.get_error(index)) for index in range(parser.num_errors)]
        raise RefusedError("the ONNX parser does not take it", found or logger.errors)
    return network


def _located(error: Any) -> str:
    """One parser error as: node NAME (OPERATOR): reason."""
    reason = str(error.desc()).strip()
    if reason in ("", "false"):  # the parser's check for an operator that it has never heard of or cannot do here
        reason = "this operator is not supported"
    if not error.node_operator():
        return reason
    return f"node {error.node_name() or error.node()!r} ({error.node_operator()}): {reason}"
