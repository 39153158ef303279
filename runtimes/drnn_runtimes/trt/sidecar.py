"""`Sidecar`: the JSON file beside a TensorRT engine that says what the engine is and where it loads.

An engine loads only with the version, platform and compute capability it was built for, and says so obscurely. The
sidecar lets a device compare first. Needs neither TensorRT nor NumPy.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from drnn_core.environment import release
from drnn_core.errors import EngineError
from drnn_core.plain_data import parse_json
from drnn_core.types import TensorInfo
from drnn_runtimes.trt.bindings import Flavour

Hardware = Literal["this", "ampere+", "same-compute-capability"]

FORMAT = "drnn-deploy-engine/2"
REBUILD = "Build it again on this machine: drnn-export model.pt --output DIR"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMPUTE_CAPABILITY = re.compile(r"[1-9]\d*\.\d")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # what some systems call them -> what Linux calls them


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """What an engine is. `onnx`: the graph's file name. `driver`: None where the engine was built ahead of time.

    `compute_capabilities`: those it loads on, for example ("8.6",). `flags`: builder flags as NVIDIA's configuration
    reports them. `batch`: smallest, usual and largest batch of an engine with a free batch axis, else None. `kernels`:
    of the engine, each that is in one of its `loops` once; None where the builder did not say. `hardware`: the GPUs
    that it loads on, "this" being those of `compute_capabilities`. `command`: builds the same with NVIDIA's own tool,
    in the folder of the graph.
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
    format: str = FORMAT

    def mismatch(self, *, flavour: str, version: str, platform: str, compute_capability: str) -> str:
        """One sentence on what keeps the engine from loading on such a machine, or "" where nothing does."""
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
        """Whether later versions of the same major version load it too. Such an engine holds code for the host."""
        return self.flags.get("version_compatible", False)

    def _version_fits(self, version: str) -> bool:
        built, here = release(self.version), release(version)
        return version == self.version or (self.version_compatible and built[:1] == here[:1] and here >= built)

    def _hardware_fits(self, compute_capability: str) -> bool:
        ampere = self.hardware == "ampere+" and release(compute_capability) >= (8, 0)
        return ampere or compute_capability in self.compute_capabilities

    def write(self, path: Path) -> None:
        """Write the sidecar as JSON, without care for what was there: give it a path of `files.replacing`."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Sidecar:
        """Read a sidecar file. Raises `EngineError`, naming the key, for anything that is not what `write` writes."""
        try:
            data = parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EngineError(f"cannot read the engine's description {path}: {error}", REBUILD) from error
        try:
            return cls.from_json(data)
        except EngineError as error:
            raise EngineError(f"{path}: {error.message}", error.fix) from None

    @classmethod
    def from_json(cls, data: object) -> Sidecar:
        """Read the JSON form. Raises `EngineError`, naming the key, for unknown, missing or mistyped keys."""
        record = _record("sidecar", data, cls)
        if record["format"] != FORMAT:
            raise EngineError(f"format: expected {FORMAT!r}, got {record['format']!r}", REBUILD)
        return cls(
            format=FORMAT,
            flavour=_choice("flavour", record["flavour"], get_args(Flavour)),
            version=_text("version", record["version"]),
            platform=_text("platform", record["platform"]),
            compute_capabilities=_compute_capabilities(record["compute_capabilities"]),
            driver=None if record["driver"] is None else _text("driver", record["driver"]),
            ahead_of_time=_boolean("ahead_of_time", record["ahead_of_time"]),
            flags=_flags(record["flags"]),
            onnx=_text("onnx", record["onnx"]),
            onnx_sha256=_digest("onnx_sha256", record["onnx_sha256"]),
            engine_sha256=_digest("engine_sha256", record["engine_sha256"]),
            engine_bytes=_whole("engine_bytes", record["engine_bytes"], least=1),
            build_seconds=_seconds("build_seconds", record["build_seconds"]),
            inputs=_tensors("inputs", record["inputs"]),
            outputs=_tensors("outputs", record["outputs"]),
            batch=_batch(record["batch"]),
            kernels=None if record["kernels"] is None else _whole("kernels", record["kernels"], least=0),
            loops=None if record["loops"] is None else _whole("loops", record["loops"], least=0),
            hardware=_choice("hardware", record["hardware"], get_args(Hardware)),
            command=_text("command", record["command"]),
        )


def sidecar_path(engine: Path) -> Path:
    """Where the sidecar of an engine file is: NAME.engine -> NAME.engine.json."""
    return engine.with_name(engine.name + ".json")


def this_platform() -> str:
    """Operating system and processor in the sidecar's words, for example "linux-x86_64"."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}-{_MACHINES.get(machine, machine)}"


def _record(where: str, data: object, cls: type) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise _mistyped(where, "an object", data)
    names = {field.name for field in dataclasses.fields(cls)}
    if unknown := sorted(set(data) - names):
        raise EngineError(f"{where}: unknown key {unknown[0]!r}", REBUILD)
    if missing := sorted(names - set(data)):
        raise EngineError(f"{where}: missing key {missing[0]!r}", REBUILD)
    return data


def _mistyped(name: str, expected: str, value: object) -> EngineError:
    return EngineError(f"{name}: must be {expected}, got {value!r:.80}", REBUILD)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _mistyped(name, "text", value)
    return value


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _mistyped(name, "true or false", value)
    return value


def _whole(name: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise _mistyped(name, f"a whole number from {least} up", value)
    return value


def _seconds(name: str, value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise _mistyped(name, "a number of seconds", value)
    return float(value)


def _digest(name: str, value: object) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise _mistyped(name, "a sha256 in hexadecimal", value)
    return value


def _list(name: str, value: object) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _mistyped(name, "a list with at least one entry", value)
    return value


def _choice(name: str, value: object, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise _mistyped(name, " or ".join(choices), value)
    return value


def _compute_capabilities(value: object) -> tuple[str, ...]:
    entries = _list("compute_capabilities", value)
    for index, entry in enumerate(entries):
        if not isinstance(entry, str) or not _COMPUTE_CAPABILITY.fullmatch(entry):
            raise _mistyped(f"compute_capabilities[{index}]", 'text like "8.6"', entry)
    return tuple(entries)


def _flags(value: object) -> dict[str, bool]:
    if not isinstance(value, dict):
        raise _mistyped("flags", "an object", value)
    return {name: _boolean(f"flags.{name}", on) for name, on in value.items()}


def _tensors(name: str, value: object) -> tuple[TensorInfo, ...]:
    return tuple(_tensor(f"{name}[{index}]", entry) for index, entry in enumerate(_list(name, value)))


def _tensor(where: str, value: object) -> TensorInfo:
    record = _record(where, value, TensorInfo)
    shape = record["shape"]
    if not isinstance(shape, list):
        raise _mistyped(f"{where}.shape", "a list", shape)
    return TensorInfo(
        name=_text(f"{where}.name", record["name"]),
        dtype=_text(f"{where}.dtype", record["dtype"]),
        shape=tuple(_whole(f"{where}.shape[{axis}]", size, least=-1) for axis, size in enumerate(shape)),
    )


def _batch(value: object) -> tuple[int, int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 3:
        raise _mistyped("batch", "null or three whole numbers", value)
    smallest, usual, largest = (_whole(f"batch[{index}]", size, least=1) for index, size in enumerate(value))
    if not smallest <= usual <= largest:
        raise _mistyped("batch", "three whole numbers in ascending order", value)
    return smallest, usual, largest
