"""The kernel inside an engine: what the plugin writes into it, and reads out of it again.

Fields of the plugin, by name:

    format        text, `FORMAT`
    kernel        text, `kernel_version()` of the installation that built it
    stack         text, the node's attributes as JSON
    image_80      bytes, the cubin for compute capability 8.0; one for each that the engine is for
    launch_80     int32: threads and dynamic shared memory of a block, sequences of a block, and floats that each of
                  its blocks has in the workspace; what a launcher without the planner needs
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from drnn_core import gpu
from drnn_core.errors import DeployError, EngineError, InputError
from drnn_core.plain_data import parse_json
from drnn_runtimes.cuda_kernel.constants import read_source
from drnn_runtimes.cuda_kernel.images import compiled_image
from drnn_runtimes.plugin.stack import Stack

FORMAT = "drnn-plugin/1"
REBUILD = "Build the engine again: drnn-export model.pt --plugin --output DIR"
_IMAGE, _LAUNCH = "image_", "launch_"
_MOST_TEXT = 1 << 16
_MOST_IMAGE = 16 << 20

Fields = Mapping[str, NDArray[Any]]


def kernel_version() -> str:
    """The version of the kernel's text, whose images belong together with this installation's plans."""
    return hashlib.sha256(read_source("drnn.cu").encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class CarriedKernel:
    """The kernel of a stack, compiled for some GPUs.

    Attributes:
        stack: What it computes.
        images: Architecture, as "86", -> cubin.
        version: `kernel_version` of what compiled it.
    """

    stack: Stack
    images: Mapping[str, bytes]
    version: str

    @classmethod
    def compiled(cls, stack: Stack, compute_capabilities: Sequence[str]) -> Self:
        """Compile the kernel, or take what was compiled before.

        Args:
            stack: What it computes.
            compute_capabilities: Of the GPUs, for example "8.6".

        Raises:
            InputError: The kernel cannot compute the stack on one of them.
            RuntimeUnavailableError: NVRTC is not installed.
            EngineError: It does not compile for one of them.
        """
        names = sorted(map(gpu.architecture, compute_capabilities), key=int)
        return cls(stack, {name: compiled_image(stack.plan(name), name) for name in names}, kernel_version())

    @property
    def digests(self) -> dict[str, str]:
        """Architecture -> sha256 of its image."""
        return {name: hashlib.sha256(image).hexdigest() for name, image in self.images.items()}

    def fields(self) -> dict[str, NDArray[Any]]:
        """What goes into an engine, in order, the same for the same kernel."""
        texts = {"format": FORMAT, "kernel": self.version, "stack": _as_text(self.stack)}
        fields: dict[str, NDArray[Any]] = {name: np.frombuffer(text.encode(), np.int8) for name, text in texts.items()}
        for name, image in self.images.items():
            fields[f"{_IMAGE}{name}"] = np.frombuffer(image, np.int8)
            fields[f"{_LAUNCH}{name}"] = self._launch(name)
        return fields

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what an engine holds, which may be anything.

        Args:
            fields: Name -> int8 or int32 array.

        Raises:
            EngineError: It is no kernel of this format, or does not fit its stack. The message names the field.
        """
        try:
            return cls._read(fields)
        except DeployError as error:
            raise EngineError(f"the kernel inside the engine is damaged: {error.message}", REBUILD) from error

    @classmethod
    def _read(cls, fields: Fields) -> Self:
        if (said := _text(fields, "format")) != FORMAT:
            raise InputError(f"its format is {said!r:.40}, not {FORMAT!r}")
        try:
            attributes = parse_json(_text(fields, "stack"))
        except ValueError as error:
            raise InputError("its field 'stack' is no JSON") from error
        if not isinstance(attributes, dict):
            raise InputError("its field 'stack' is no JSON object")
        stack = Stack.from_attributes(attributes)
        if _as_text(stack) != _text(fields, "stack"):
            raise InputError("its field 'stack' says more than a stack, or is for another version of the plugin")
        images = {name[len(_IMAGE) :]: _bytes(fields, name) for name in fields if name.startswith(_IMAGE)}
        kernel = cls(stack, images, _text(fields, "kernel"))
        known = {"format", "kernel", "stack", *(f"{p}{name}" for name in images for p in (_IMAGE, _LAUNCH))}
        if odd := sorted(known ^ fields.keys()) or ([] if images else [f"{_IMAGE}..."]):
            raise InputError(f"its field {odd[0]!r:.60} {'is missing' if odd[0] not in fields else 'is unknown'}")
        for name in images:
            launch = fields[f"{_LAUNCH}{name}"]
            if not name.isdigit() or launch.dtype != np.int32 or not np.array_equal(launch, kernel._launch(name)):
                raise InputError(f"its field '{_LAUNCH}{name:.20}' is not what the kernel needs")
        return kernel

    def _launch(self, architecture: str) -> NDArray[np.int32]:
        plan = self.stack.plan(architecture)
        return np.array([plan.threads, plan.shared_bytes, plan.options.rows, plan.workspace], np.int32)


def _as_text(stack: Stack) -> str:
    return json.dumps(stack.attributes(), sort_keys=True)


def _bytes(fields: Fields, name: str, most: int = _MOST_IMAGE) -> bytes:
    value = fields.get(name)
    if value is None:
        raise InputError(f"its field {name!r:.60} is missing")
    if value.dtype != np.int8 or not 0 < value.nbytes <= most:
        raise InputError(f"its field {name!r:.60} is {value.dtype} of {value.nbytes:,} bytes")
    return value.tobytes()


def _text(fields: Fields, name: str) -> str:
    try:
        return _bytes(fields, name, _MOST_TEXT).decode()
    except UnicodeDecodeError as error:
        raise InputError(f"its field {name!r} is no text") from error
