"""What a manifest says of a graph, of an engine and of an image of the CUDA kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from drnn_core.types import PRECISIONS, Emission, Form, NamedGraph, Precision, TensorInfo


@dataclasses.dataclass(frozen=True)
class GraphInfo(NamedGraph):
    """One ONNX graph of a bundle.

    Attributes:
        file: Its name in the bundle.
        form: Whole sequences, chunks or single steps.
        emission: How the network was written as nodes.
        pruned: Whether it leaves out steps that cannot reach the output.
        steps: Time steps of one run.
        batch: Sequences of one run; None for any number.
        precision: Of matrix products.
        opset: The version of ONNX's operators.
        nodes: The number of nodes.
        inputs: The edges that it reads.
        outputs: The edges that it writes.
        states: Names of (input, output) pairs that carry the state.
        ring: Whether only what changes of a delay line goes in and out, the line being longer than the chunk.
        delay: Steps between an input and its output.
        profile: The smallest, usual and largest batch for which engines are built and which are checked; None for a
            graph of one batch.
        largest_input: The largest |sample| that it takes; None where the bundle is older and says nothing.
        block: The most unrolled steps of a block (emission blocked); None for other emissions.
    """

    file: str
    form: Form
    emission: Emission
    pruned: bool
    steps: int
    batch: int | None
    precision: Precision
    opset: int
    nodes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    states: tuple[tuple[str, str], ...] = ()
    ring: bool = False
    delay: int = 0
    profile: tuple[int, int, int] | None = None
    largest_input: float | None = None
    block: int | None = None

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> GraphInfo:
        """Read the form of a manifest, which its schema has checked."""
        tensors = {side: tuple(map(TensorInfo.from_json, entry[side])) for side in ("inputs", "outputs")}
        states = tuple((name, after) for name, after in entry["states"])
        profile = None if entry["profile"] is None else tuple(entry["profile"])
        return cls(**{**entry, **tensors, "states": states, "profile": profile})

    @property
    def remark(self) -> str:
        """On `delay`, `block` or emission plugin for people, for example ", outputs 2 steps late"; "" for others."""
        if self.emission == "plugin":
            return ", the layers are one node"
        if self.block:
            return f", blocks of up to {self.block} steps"
        return f", outputs {self.delay} step{'' if self.delay == 1 else 's'} late" if self.delay else ""

    @property
    def range(self) -> float:
        """The largest |sample| that it takes, at most what its precision has."""
        largest = PRECISIONS[self.precision].largest
        return largest if self.largest_input is None else min(self.largest_input, largest)

    @property
    def largest_batch(self) -> int:
        """The most sequences of one run: its batch, or the largest of its profile."""
        return self.batch or (self.profile[2] if self.profile else 1)


@dataclasses.dataclass(frozen=True)
class EngineInfo:
    """One engine of a bundle.

    Attributes:
        file: The engine's path in the bundle.
        sidecar: Its description.
        graph: The ONNX file that it was built from.
        runtime: The runtime that loads it.
    """

    file: str
    sidecar: str
    graph: str
    runtime: str


@dataclasses.dataclass(frozen=True)
class KernelInfo:
    """One image of the CUDA kernel, see `drnn_runtimes.cuda_kernel.images`.

    Attributes:
        file: Its path in the bundle.
        compute_capability: Of the GPUs that it runs on, for example "8.7".
        source_sha256: Of the text that it was compiled from.
        compiler: What compiled it, for people.
    """

    file: str
    compute_capability: str
    source_sha256: str
    compiler: str
