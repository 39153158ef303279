"""How the kernel computes a network: which variant, which steps, and where everything lies. `planner.py` makes plans.

`constants.py` writes a plan as C++ constants, `weights.py` packs weights as it says, a launcher takes its sizes.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from drnn_core.errors import InputError
from drnn_models.spec import ModelSpec

Variant = Literal["resident", "streamed"]
Activations = Literal["accurate", "approximate"]
WeightType = Literal["fp32", "fp16"]

# Compute capability -> bytes of shared memory that a block may ask for (CUDA C++ Programming Guide, "Technical
# Specifications per Compute Capability").
SHARED_MEMORY: dict[str, int] = {
    "75": 64 << 10,
    "80": 163 << 10,
    "86": 99 << 10,
    "87": 163 << 10,
    "89": 99 << 10,
    "90": 227 << 10,
    "100": 227 << 10,
    "103": 227 << 10,
    "110": 227 << 10,
    "120": 99 << 10,
    "121": 99 << 10,
}


@dataclasses.dataclass(frozen=True)
class KernelOptions:
    """What of a kernel is chosen, and not given by the network.

    Attributes:
        answers: How many of the last steps are wanted of a whole sequence from the zero state, and what cannot reach
            them is left out; None computes all steps, which is what states in and out need.
        rows: Sequences that a block computes together.
        weights: The type of the matrices; sums, states and biases are float32.
        activations: Whether sigmoid and tanh are accurate to float32, or `tanh.approx`, which is faster.
        variant: None for resident where that fits.
        shared_memory: Bytes that a block may take, see `SHARED_MEMORY`.
    """

    answers: int | None = None
    rows: int = 1
    weights: WeightType = "fp32"
    activations: Activations = "accurate"
    variant: Variant | None = None
    shared_memory: int = SHARED_MEMORY["86"]

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise InputError(f"a block computes at least one sequence, got rows={self.rows}")
        if self.answers is not None and self.answers < 1:
            raise InputError(f"a network answers at least one step, got answers={self.answers}")


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """A layer, as `struct Layer` of drnn.cu has it.

    Attributes:
        inputs: Values of a row that it reads.
        hidden: Its units.
        far: Whether its past is in the workspace in place of shared memory.
        begin: Its first thread (resident).
        end: The thread after its last one (resident).
        dilation: Steps between h and the h that it is computed from.
        fold: The residues modulo the dilation that it computes.
        weights: Where its matrices begin, in bytes.
        biases: Where its biases begin, in bytes.
        h_state: Where its h is in the states, in floats for each sequence of the batch.
        c_state: The same of c.
        places: Where the rest begins, in floats: in shared memory, the last one in the workspace.
    """

    inputs: int
    hidden: int
    far: bool
    begin: int
    end: int
    dilation: int
    fold: int
    weights: int
    biases: int
    h_state: int
    c_state: int
    places: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class KernelPlan:
    """The kernel for a network.

    Attributes:
        spec: The network.
        options: What was chosen.
        variant: Where the weights are during a step.
        layers: Its layers.
        block: Steps that a layer computes between two barriers of the block.
        ahead: Steps whose inputs a resident layer multiplies together.
        tile: Rows of a streamed layer that share a weight.
        movers: The first thread that moves inputs and outputs (resident).
        threads: Of a block.
        input_at: Where a block's inputs are in shared memory, in floats.
        output_at: The same of the top layer's outputs.
        past_at: The same of rows of the past, and of `reset * h` (streamed).
        shared: Floats of shared memory.
        workspace: Floats of the workspace that a block has.
        weight_bytes: Of the packed weights.
    """

    spec: ModelSpec
    options: KernelOptions
    variant: Variant
    layers: tuple[LayerPlan, ...]
    block: int
    ahead: int
    tile: int
    movers: int
    threads: int
    input_at: int
    output_at: int
    past_at: tuple[int, int]
    shared: int
    workspace: int
    weight_bytes: int

    @property
    def shared_bytes(self) -> int:
        """Dynamic shared memory of a launch."""
        return 4 * self.shared

    @property
    def keeps_state(self) -> bool:
        """Whether states may go in and come out: whether all steps of all layers are computed."""
        return all(layer.fold == layer.dilation for layer in self.layers)

    def check_launch(self, steps: int, answers: int, *, states: bool = False) -> None:
        """Refuse what the kernel would compute wrongly; a launcher calls it first.

        Args:
            steps: Of the sequences.
            answers: The last steps that are wanted.
            states: Whether a state goes in or comes out.

        Raises:
            ValueError: The kernel does not compute that.
        """
        most = min(steps, self.options.answers or steps)
        if not 1 <= answers <= most:
            raise ValueError(f"the kernel answers 1 to {most} of {steps} steps, not {answers}")
        if states and not self.keeps_state:
            raise ValueError("the kernel leaves out steps that states need")

    def grid(self, batch: int) -> int:
        """Blocks of a launch.

        Args:
            batch: The number of sequences.
        """
        return -(-batch // self.options.rows)

    def workspace_bytes(self, batch: int) -> int:
        """Device memory that a launch needs beside its arrays; its content does not matter.

        Args:
            batch: The number of sequences.
        """
        return 4 * self.workspace * self.grid(batch)

    def state_floats(self, batch: int) -> int:
        """Values of the states: the arrays of `ModelSpec.state_shapes` without the fusion's, one after the other.

        Args:
            batch: The number of sequences.
        """
        return (
            batch
            * sum(d * h for d, h in zip(self.spec.dilations, self.spec.hidden, strict=True))
            * len(self.spec.cell_states)
        )
