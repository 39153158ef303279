"""The kernel that a build puts into an engine in the place of the stack, and its way to the builder's process."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drnn_core.errors import InputError
from drnn_runtimes.bundle.functions import calls_stack
from drnn_runtimes.plugin.carried import CarriedKernel
from drnn_runtimes.plugin.stack import Stack
from drnn_runtimes.plugin.versions import ParserRule

if TYPE_CHECKING:
    import onnx as onnx_module


def kernel_of(path: Path, model: onnx_module.ModelProto, compute_capabilities: Sequence[str]) -> CarriedKernel:
    """Compile the kernel of a graph.

    Args:
        path: The graph's file, for messages.
        model: The graph.
        compute_capabilities: Of the GPUs that the engine is for.

    Raises:
        InputError: The graph has no stack of layers as one node, or the kernel cannot compute it on one of the GPUs.
        RuntimeUnavailableError: NVRTC is not installed.
        EngineError: It does not compile for one of them.
    """
    from onnx import helper

    node = next(filter(calls_stack, model.graph.node), None)
    if node is None:
        what = f"{path.name} has no stack of layers as one node, which a kernel inside the engine is for"
        raise InputError(what, "Export it so: drnn-export model.pt --plugin")
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return CarriedKernel.compiled(Stack.from_attributes(attributes), compute_capabilities)


def as_request(kernel: CarriedKernel, rule: ParserRule) -> dict[str, Any]:
    """The kernel in plain JSON types, and whether the parser must not see the function.

    Args:
        kernel: What `kernel_of` gives.
        rule: Of the parser.
    """
    images = {name: base64.b64encode(image).decode() for name, image in kernel.images.items()}
    return {
        "stack": kernel.stack.attributes(),
        "images": images,
        "version": kernel.version,
        "alone": rule.needs_node_alone,
    }


def without_function(path: Path) -> bytes:
    """A graph's file without the function of the stack: then the node can be nothing but the plugin.

    Args:
        path: The graph's file.
    """
    import onnx

    model = onnx.load(path)
    del model.functions[:]
    return bytes(model.SerializeToString(deterministic=True))


def from_request(request: Mapping[str, Any]) -> CarriedKernel:
    """The kernel of what `as_request` gives."""
    images = {name: base64.b64decode(image) for name, image in request["images"].items()}
    return CarriedKernel(Stack.from_attributes(request["stack"]), images, request["version"])
