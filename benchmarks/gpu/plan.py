"""What `benchmarks.gpu.check` is made of: its parts by name, what each needs, and how long it may take.

Imports nothing heavy: the process that starts the parts must not load a driver that could end it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from drnn_core.errors import InputError
from drnn_models.cells import Cell
from drnn_runtimes.trt.bindings import Flavour
from drnn_zoo import zoo_tasks

Row = dict[str, Any]
Rows = Generator[Row, None, Row]  # the rows of a part as they come, and then the rest of what it answers
Device = Literal["cuda", "cpu"]  # cpu: for the tests of this program, on machines without a GPU
SURVEY, SMOKE, TRAINING = "runtimes", "smoke", "training"
FLAVOURS: tuple[str, ...] = get_args(Flavour)
BASELINE = "torch-cudnn"
KERNEL = "cuda-kernel"
RUNTIMES: dict[Device, tuple[str, ...]] = {
    "cuda": ("torch-cuda", "onnxruntime-cuda", KERNEL, "onnxruntime-tensorrt", *FLAVOURS),
    "cpu": ("torch", "onnxruntime-cpu"),
}
COMPILED, NATIVE = "torch-compile", "torch-native"
TORCH_WAYS = ("torch-pruned", "torch-phases", NATIVE, COMPILED)
OVERRIDES = ("0", "unset")  # what NVIDIA_TF32_OVERRIDE is
RECORDED = ("copy-memory", "speaker-id")  # of the zoo: their pruned steps are unevenly spaced
_ALONE = ("graph", "kernel-times", "latency", "stream")  # on a quiet GPU, after all others
_MINUTES = {  # a part's longest time: quick, full
    "export": (4, 10),
    "engines": (3, 45),
    SMOKE: (1, 2),
    "parity": (2, 15),
    "kernel-parity": (2, 10),
    "kernel-times": (2, 10),
    "tf32": (1, 5),
    "graph": (1, 10),
    "latency": (2, 15),
    "stream": (1, 10),
}


@dataclasses.dataclass(frozen=True)
class Part:
    """One part. `runtimes`: what must be usable for it; `after`: the parts that must be right before it.

    `override`: what NVIDIA_TF32_OVERRIDE is in its process, "unset" for nothing.
    """

    name: str
    seconds: float
    runtimes: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    override: str = OVERRIDES[0]

    @property
    def alone(self) -> bool:
        """Whether it is timed, with no other part beside it."""
        return self.name.partition("/")[0] in _ALONE


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
    """Every part, what is worth most first; those that are timed come after all others.

    Worth: that both runtimes run at all, parity of the zoo's networks, the CUDA kernel, TF32, CUDA graphs, latency;
    then TensorRT, and last what torch takes minutes to compile.
    """
    named, cells = networks()
    first, second, *others = RUNTIMES[device]
    parts = [Part(SURVEY, 120.0)]

    def add(name: str, *runtimes: str, after: str | tuple[str, ...] = (), override: str = OVERRIDES[0]) -> None:
        seconds = 60.0 * _MINUTES[name.partition("/")[0]][0 if quick else 1]
        before = (after,) if isinstance(after, str) else after
        parts.append(Part(name, seconds, tuple(dict.fromkeys(runtimes)), before, override))

    add(f"export/{SMOKE}")
    for runtime in (first, second):
        add(f"{SMOKE}/{runtime}", runtime, after=f"export/{SMOKE}")
    for name in (*named, *cells):
        add(f"export/{name}")
    for runtime in (first, second):
        for name in named:
            add(f"parity/{name}/{runtime}", runtime, after=f"export/{name}")
    if KERNEL in others:
        others.remove(KERNEL)
        for name in named:
            add(f"parity/{name}/{KERNEL}", KERNEL, after=f"export/{name}")
        for cell in cells:
            add(f"kernel-parity/{cell}", KERNEL)
    for override in OVERRIDES:
        for runtime in (first, second):
            for name in named:
                add(f"tf32/{name}/{runtime}/{override}", runtime, after=f"export/{name}", override=override)
    for runtime in others:
        for name in (*named, *cells):
            after = f"engines/{name}/{runtime}" if runtime in FLAVOURS else f"export/{name}"
            if runtime in FLAVOURS:
                add(after, runtime)
            if name in named:
                add(f"parity/{name}/{runtime}", runtime, after=after)
    for name in (*RECORDED, *cells):
        add(f"graph/{name}/torch", "torch-cuda")
    for cell in cells:
        add(f"graph/{cell}/{TRAINING}", "torch-cuda")
    kernel = (KERNEL,) if KERNEL in RUNTIMES[device] else ()
    if kernel:
        for cell in cells:
            add(f"kernel-times/{cell}", KERNEL, after=f"kernel-parity/{cell}")
    for runtime in (second, *kernel, *others):  # beside torch, as all that follow
        for cell in cells:
            bundle = f"engines/{cell}/{runtime}" if runtime in FLAVOURS else f"export/{cell}"
            right = (bundle, f"kernel-parity/{cell}") if runtime == KERNEL else (bundle,)
            add(f"latency/{cell}/{runtime}", first, runtime, after=right)
            add(f"stream/{cell}/{runtime}", first, runtime, after=right)
            if runtime in FLAVOURS:
                add(f"graph/{cell}/{runtime}", runtime, after=right)
    for cell in cells:
        add(f"stream/{cell}/{first}", first, after=f"export/{cell}")
    for way in TORCH_WAYS:
        for cell in cells:
            add(f"latency/{cell}/{way}", first)
    return parts


def chosen_parts(parts: Sequence[Part], words: Sequence[str]) -> list[Part]:
    """The parts that a word names or whose path it begins, with those before them, and the survey.

    Raises `InputError` for a word that names none.
    """
    chosen: set[str] = {SURVEY}
    for word in words:
        named = [part for part in parts if f"{part.name}/".startswith(f"{word.rstrip('/')}/")]
        if not named:
            kinds = ", ".join(dict.fromkeys(part.name.partition("/")[0] for part in parts))
            raise InputError(f"there is no part {word!r}", f"Give a kind ({kinds}), or more of a path: --list.")
        chosen |= {name for part in named for name in (part.name, *part.after)}
    return [part for part in parts if part.name in chosen]
