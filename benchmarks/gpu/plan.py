"""What `benchmarks.gpu.check` is made of: its parts by name, what each needs, and how long it may take.

Imports nothing heavy: the process that starts the parts must not load a driver that could end it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from drnn_core.errors import InputError
from drnn_models.cells import Cell
from drnn_runtimes.trt.bindings import Flavour
from drnn_zoo import zoo_tasks

Device = Literal["cuda", "cpu"]  # cpu: for the tests of this program, on machines without a GPU
SURVEY = "runtimes"
FLAVOURS: tuple[str, ...] = get_args(Flavour)
BASELINE = "torch-cudnn"
RUNTIMES: dict[Device, tuple[str, ...]] = {
    "cuda": ("torch-cuda", "onnxruntime-cuda", "onnxruntime-tensorrt", *FLAVOURS),
    "cpu": ("torch", "onnxruntime-cpu"),
}
COMPILED = "torch-compile"
TORCH_WAYS = ("torch-pruned", "torch-native", "torch-phases", COMPILED)
GRAPH_WAYS = ("torch", *FLAVOURS)
_MINUTES = {  # a part's longest time: with --quick, without
    "export": (2, 10),
    "engines": (3, 45),
    "parity": (2, 15),
    "latency": (2, 15),
    "stream": (2, 10),
    "graph": (2, 10),
}


@dataclasses.dataclass(frozen=True)
class Part:
    """One part. `runtimes`: what must be usable for it; `after`: the part whose files it reads, or ""."""

    name: str
    seconds: float
    runtimes: tuple[str, ...] = ()
    after: str = ""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One run of the check. work: folder of the bundles. quick: fewer graphs and shorter measurements."""

    device: Device
    quick: bool
    work: Path

    @property
    def engine_seconds(self) -> float:
        """The longest build; one that is estimated to take longer is not begun."""
        return 40.0 if self.quick else 600.0

    @property
    def batches(self) -> tuple[int, ...]:
        """Of what is timed."""
        return (1, 32) if self.quick else (1, 8, 32, 128)

    def folder(self, name: str, of: str, runtime: str) -> Path:
        """The bundle of a network's set of graphs, for a runtime: those of TensorRT have engines."""
        return self.work / name / (f"{of}-{runtime}" if runtime in FLAVOURS else of)


def networks() -> tuple[list[str], list[str]]:
    """Names of the zoo's networks, which are checked, and of the paper's network by cell, which is timed."""
    return zoo_tasks(), list(get_args(Cell))


def all_parts(device: Device, *, quick: bool) -> list[Part]:
    """Every part in the order in which they run: parity before speed, and network by network."""
    zoo, cells = networks()
    runtimes = RUNTIMES[device]
    named: list[tuple[str, str, str]] = []  # name, runtime, after
    for network in zoo:
        named += _files(network, device)
        named += [(f"parity/{network}/{runtime}", runtime, _files_of(network, runtime)) for runtime in runtimes]
    for cell in cells:
        named += _files(cell, device)
        named += [(f"latency/{cell}/{way}", runtimes[0], "") for way in TORCH_WAYS if way != COMPILED]
        named += [(f"latency/{cell}/{runtime}", runtime, _files_of(cell, runtime)) for runtime in runtimes[1:]]
        named += [(f"stream/{cell}/{runtime}", runtime, _files_of(cell, runtime)) for runtime in runtimes]
        named.append((f"graph/{cell}/torch", "torch-cuda", ""))
        named += [(f"graph/{cell}/{flavour}", flavour, _files_of(cell, flavour)) for flavour in FLAVOURS]
    named += [(f"latency/{cell}/{COMPILED}", runtimes[0], "") for cell in cells]  # which takes minutes to compile
    column = 0 if quick else 1
    parts = [Part(SURVEY, 120.0)]
    for name, runtime, after in named:
        kind = name.partition("/")[0]
        beside = (runtimes[0],) if kind in ("latency", "stream") else ()  # which every way is timed beside
        needed = tuple(dict.fromkeys(each for each in (*beside, runtime) if each))
        parts.append(Part(name, 60.0 * _MINUTES[kind][column], needed, after))
    return parts


def chosen_parts(parts: Sequence[Part], words: Sequence[str]) -> list[Part]:
    """The parts that a word names or whose path it begins, with those whose files they read; always with the survey.

    Raises `InputError` for a word that names none.
    """
    chosen: set[str] = {SURVEY}
    for word in words:
        named = [part for part in parts if f"{part.name}/".startswith(f"{word.rstrip('/')}/")]
        if not named:
            kinds = ", ".join(dict.fromkeys(part.name.partition("/")[0] for part in parts))
            raise InputError(f"there is no part {word!r}", f"Give a kind ({kinds}), or more of a path: --list.")
        chosen |= {name for part in named for name in (part.name, part.after)}
    return [part for part in parts if part.name in chosen]


def _files(network: str, device: Device) -> list[tuple[str, str, str]]:
    """The parts that write a network's bundles."""
    engines = [(f"engines/{network}/{flavour}", flavour, "") for flavour in FLAVOURS if device == "cuda"]
    return [(f"export/{network}", "", ""), *engines]


def _files_of(network: str, runtime: str) -> str:
    """The part that writes the bundles that a runtime reads."""
    return f"engines/{network}/{runtime}" if runtime in FLAVOURS else f"export/{network}"
