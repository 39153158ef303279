"""`Sidecar`: the JSON file beside a TensorRT engine that says what the engine is and where it loads.

An engine loads only with the version, platform and compute capability it was built for, and says so obscurely. The
sidecar lets a device compare first. Needs neither TensorRT nor NumPy.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from pathlib import Path
from typing import Any, Literal

from drnn_core.environment import release
from drnn_core.errors import EngineError
from drnn_core.plain_data import check_plain, read_json, schema_error, shipped_json
from drnn_core.types import TensorInfo
from drnn_runtimes.trt.bindings import Flavour

Hardware = Literal["this", "ampere+", "same-compute-capability"]

FORMAT = "drnn-deploy-engine/2"
_SCHEMA = "drnn_runtimes.trt", "sidecar.schema.json"
_MOST_BYTES, _MOST_VALUES = 1 << 20, 20_000  # of a file; with 64 layers it has 60 kB and 2,000 values
REBUILD = "Build it again on this machine: drnn-export model.pt --output DIR"
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # what some systems call them -> what Linux calls them


@dataclasses.dataclass(frozen=True)
class InsideImage:
    """One image of the kernel inside an engine.

    Attributes:
        compute_capability: Of the GPUs that it runs on, for example "8.6".
        sha256: Its digest.
        bytes: Its size.
    """

    compute_capability: str
    sha256: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class InsideKernel:
    """The CUDA kernel inside an engine, which a plugin launches; see `drnn_runtimes.plugin`.

    Attributes:
        plugin: Namespace and name of the plugin, "drnn::DilatedStack".
        plugin_version: Its version.
        kernel: The version of the kernel's text.
        compiler: What compiled it, for people.
        images: One for each GPU generation.
    """

    plugin: str
    plugin_version: str
    kernel: str
    compiler: str
    images: tuple[InsideImage, ...]

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> InsideKernel:
        """Read the JSON form, which the schema has checked."""
        return cls(**{**data, "images": tuple(InsideImage(**image) for image in data["images"])})


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """What an engine is.

    Attributes:
        flavour: The module that it was built with.
        version: That module's version.
        platform: As `this_platform` says, for example "linux-x86_64".
        compute_capabilities: Those that it loads on, for example ("8.6",).
        driver: What the driver spoke; None where the engine was built ahead of time.
        ahead_of_time: Whether it was built without the GPU that it is for.
        flags: Builder flags as NVIDIA's configuration reports them.
        onnx: The graph's file name.
        onnx_sha256: The graph's digest.
        engine_sha256: The engine's digest.
        engine_bytes: The engine's size.
        build_seconds: How long the build took.
        inputs: The engine's inputs.
        outputs: The engine's outputs.
        batch: The smallest, usual and largest batch of an engine with a free batch axis, else None.
        kernels: Kernels of the engine, each that is in a loop once; None where the builder did not say.
        loops: Loops of the engine; None where the builder did not say.
        hardware: The GPUs that it loads on; "this" are those of `compute_capabilities`.
        command: Builds the same with NVIDIA's own tool, in the folder of the graph.
        kernel: The kernel inside; None where the engine has none but NVIDIA's.
        format: The version of the file.
    """

    flavour: Flavour
    version: str
    platform: str
    compute_capabilities: tuple[str, ...]
    driver: str | None
    ahead_of_time: bool
    flags: dict[str, bool]
    onnx: str
    onnx_sha256: str
    engine_sha256: str
    engine_bytes: int
    build_seconds: float
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    batch: tuple[int, int, int] | None = None
    kernels: int | None = None
    loops: int | None = None
    hardware: Hardware = "this"
    command: str = ""
    kernel: InsideKernel | None = None
    format: str = FORMAT

    def mismatch(self, *, flavour: str, version: str, platform: str, compute_capability: str) -> str:
        """Compare the engine with a machine.

        Args:
            flavour: The module that would load it.
            version: That module's version.
            platform: As `this_platform` says.
            compute_capability: Of the GPU, for example "8.6".

        Returns:
            One sentence on what keeps the engine from loading there, or "".
        """
        differences = []
        if self.flavour != flavour:
            differences.append(f"it is an engine for {self.flavour}, not for {flavour}")
        elif not self._version_fits(version):
            differences.append(f"it was built with {self.flavour} {self.version} and this machine has {version}")
        if self.platform != platform:
            differences.append(f"it was built for {self.platform} and this machine is {platform}")
        if not self._hardware_fits(compute_capability):
            built_for = "8.0 or later" if self.hardware == "ampere+" else ", ".join(self.compute_capabilities)
            differences.append(f"it was built for compute capability {built_for} and this GPU has {compute_capability}")
        return f"the engine does not fit: {'; '.join(differences)}" if differences else ""

    @property
    def version_compatible(self) -> bool:
        """Whether later versions of the same major version also load it. Such an engine holds code for the host."""
        return self.flags.get("version_compatible", False)

    def _version_fits(self, version: str) -> bool:
        built, here = release(self.version), release(version)
        return version == self.version or (self.version_compatible and built[:1] == here[:1] and here >= built)

    def _hardware_fits(self, compute_capability: str) -> bool:
        ampere = self.hardware == "ampere+" and release(compute_capability) >= (8, 0)
        return ampere or compute_capability in self.compute_capabilities

    def write(self, path: Path) -> None:
        """Write the sidecar as JSON over what was there: give it a path of `files.replacing`."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Sidecar:
        """Read a sidecar file.

        Raises:
            EngineError: The file is not what `write` writes. The message names the key.
        """
        try:
            data = read_json(path, _MOST_BYTES)
            check_plain(data, _MOST_VALUES)
        except (OSError, ValueError) as error:
            raise EngineError(f"cannot read the engine's description {path}: {error}", REBUILD) from error
        try:
            return cls.from_json(data)
        except EngineError as error:
            raise EngineError(f"{path}: {error.message}", error.fix) from None

    @classmethod
    def from_json(cls, data: object) -> Sidecar:
        """Read the JSON form.

        Raises:
            EngineError: A key is unknown, missing or mistyped. The message names it.
        """
        if (error := schema_error(data, *_SCHEMA)) is not None:
            raise EngineError(_sentence(error), REBUILD)
        record: dict[str, Any] = dict(data)  # type: ignore[call-overload]  # the schema has seen that it is one
        batch = record["batch"]
        if batch is not None and batch != sorted(batch):
            what = f"batch: must be three whole numbers in ascending order, got {batch!r:.80}"
            raise EngineError(what, REBUILD)
        record |= {
            "compute_capabilities": tuple(record["compute_capabilities"]),
            "build_seconds": float(record["build_seconds"]),
            "inputs": tuple(map(TensorInfo.from_json, record["inputs"])),
            "outputs": tuple(map(TensorInfo.from_json, record["outputs"])),
            "batch": None if batch is None else tuple(batch),
            "kernel": InsideKernel.from_json(record["kernel"]) if record.get("kernel") else None,
        }
        return cls(**record)


def sidecar_path(engine: Path) -> Path:
    """Where the sidecar of an engine file is: NAME.engine -> NAME.engine.json."""
    return engine.with_name(engine.name + ".json")


def this_platform() -> str:
    """Operating system and processor in the sidecar's words, for example "linux-x86_64"."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"


def sidecar_schema() -> dict[str, Any]:
    """The JSON schema of a sidecar. The description of each key completes the sentence "it must be ..."."""
    schema: dict[str, Any] = shipped_json(*_SCHEMA)
    return schema


def _sentence(error: Any) -> str:
    """What a `jsonschema.ValidationError` says is wrong with which key."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    where = "".join(steps).removeprefix(".") or "sidecar"
    if error.validator == "additionalProperties":
        unknown = sorted(set(error.instance) - set(error.schema["properties"]))
        return f"{where}: unknown key {unknown[0]!r}"
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))
        return f"{where}: missing key {missing[0]!r}"
    return f"{where}: must be {error.schema['description']}, got {error.instance!r:.80}"
