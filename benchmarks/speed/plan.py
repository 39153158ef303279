"""What the standard set measures: groups of rows, a file of results each, what is worth most first.

NETWORK-CELL          the networks of the paper: whole sequences and streams, batch 1, 32 and 128
growth-VARIABLE-CELL  how cost grows with length, and for GRUs also with layers, hidden size and batch
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from typing import get_args

from benchmarks.networks import STANDARD, Network
from drnn_core.errors import InputError
from drnn_deploy.bench.measure import Effort
from drnn_deploy.bench.settings import Setting
from drnn_models.cells import Cell
from drnn_models.spec import Continuous, Head, ModelSpec

EFFORT = Effort(seconds=0.6, rounds=6)
SMOKE = Effort(seconds=0.02, rounds=2)
BATCHES = (1, 32, 128)
CHUNK = 256  # time steps of a piece of a stream
GROWTH: dict[str, tuple[int, ...]] = {
    "length": (1000, 4000, 16_000, 64_000),
    "layers": (2, 4, 6, 8, 10),
    "hidden": (8, 16, 32, 64, 128),
    "batch": (1, 4, 16, 64, 256),
}
_BASE = {"length": 1000, "layers": 9, "hidden": 20, "batch": 1}
_CELLS: tuple[Cell, ...] = ("gru", "lstm", "rnn")
_WHOLE = ("native", "onnxruntime-cpu", "openvino", "tract", "torch")
_STREAM = ("native", "onnxruntime-cpu", "openvino", "tract", "torch-eager")
_GROWING = ("native", "onnxruntime-cpu", "torch")
_EXPORTED = "mnist"  # by torch itself, which takes half a minute to too long
_SMALL = 64  # units up to which compiled torch takes part in batches, too


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row to measure.

    Attributes:
        spec: The network.
        setting: What is run.
        contenders: Who takes part, where they are installed.
        emissions: How the graphs are written.
        size: Of the variable that grows; None in the standard networks.
    """

    spec: ModelSpec
    setting: Setting
    contenders: tuple[str, ...]
    emissions: tuple[str, ...] = ("fused",)
    size: int | None = None

    @property
    def key(self) -> str:
        """The same for the same measurement, so that one that is there is not repeated."""
        return f"{self.spec.short_name}; {self.setting.name}"


@dataclasses.dataclass(frozen=True)
class Group:
    """Rows of one file.

    Attributes:
        name: Of the file.
        title: For the page.
        cell: The cell of its networks.
        entries: The rows.
        variable: What grows from row to row; "" in the standard networks.
    """

    name: str
    title: str
    cell: Cell
    entries: tuple[Entry, ...]
    variable: str = ""


def all_groups() -> list[Group]:
    """Everything, in the order of measuring."""
    standard = [_standard(name, network, cell) for name, network in STANDARD.items() for cell in _CELLS]
    growing = [_growing(variable, _CELLS[0]) for variable in GROWTH]
    return [*standard, *growing, *(_growing("length", cell) for cell in _CELLS[1:])]


def chosen_groups(patterns: Sequence[str]) -> list[Group]:
    """The groups whose names fit one of the patterns, for example "mnist-*"; all without patterns.

    Raises:
        InputError: None fits a pattern.
    """
    groups = all_groups()
    for pattern in patterns:
        if not any(fnmatch.fnmatch(group.name, pattern) for group in groups):
            raise InputError(f"no group is called {pattern}", f"Choose from: {', '.join(g.name for g in groups)}.")
    return [group for group in groups if not patterns or any(fnmatch.fnmatch(group.name, p) for p in patterns)]


def smoke_groups() -> list[Group]:
    """The same kinds of rows on tiny networks with one contender, to see whether it runs."""
    tiny = Network("tiny, 2 x 4", 2, 4, 12, Continuous(1), Head("last", 3))
    spec, only = tiny.spec("gru"), ("onnxruntime-cpu",)
    rows = (Setting("sequence", 12, 1), Setting("step", 1, 1))
    growing = tuple(Entry(spec, Setting("sequence", size, 1), only, size=size) for size in (8, 16, 32))
    standard = Group("mnist-gru", tiny.title, "gru", tuple(Entry(spec, setting, only) for setting in rows))
    return [standard, Group("growth-length-gru", _grows("length"), "gru", growing, "length")]


def _standard(name: str, network: Network, cell: Cell) -> Group:
    spec = network.spec(cell)
    entries = []
    for batch in BATCHES:
        more: tuple[str, ...] = ("torch-eager", "torch-compile") if batch == 1 else ()
        if batch == 1 and name == _EXPORTED:
            more += ("torch-onnx",)
        if batch == BATCHES[1] and network.hidden <= _SMALL:
            more = ("torch-compile",)
        entries.append(Entry(spec, Setting("sequence", network.length, batch), _WHOLE + more))
    for batch in BATCHES:
        more = ("torch-compile",) if batch == 1 else ()
        entries.append(Entry(spec, Setting("step", 1, batch), _STREAM + more, ("fused", "skewed")))
    entries.append(Entry(spec, Setting("chunk", CHUNK, 1), _STREAM))
    return Group(f"{name}-{cell}", network.title, cell, tuple(entries))


def _growing(variable: str, cell: Cell) -> Group:
    entries = []
    for size in GROWTH[variable]:
        sizes = _BASE | {variable: size}
        network = Network("", sizes["layers"], sizes["hidden"], sizes["length"], Continuous(1), Head("last", 10))
        setting = Setting("sequence", sizes["length"], sizes["batch"])
        entries.append(Entry(network.spec(cell), setting, _GROWING, size=size))
    return Group(f"growth-{variable}-{cell}", _grows(variable), cell, tuple(entries), variable)


def _grows(variable: str) -> str:
    others = ", ".join(f"{name} {size:,}" for name, size in _BASE.items() if name != variable)
    return f"{variable} grows; {others}"


assert set(_CELLS) == set(get_args(Cell))
