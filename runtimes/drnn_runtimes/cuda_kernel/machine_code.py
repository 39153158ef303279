"""Cycles of the kernel's steps, from the machine code: a model of one warp that is alone and issues in order.

Every instruction says in bits 105 to 121 how long the next one waits, which of six scoreboards it sets and which it
waits for. Latencies of what has a scoreboard are assumptions (measured by others: shared memory 29 to 33 cycles,
special functions 22, barriers 22), and so is that instructions are always in the cache. So a figure is a model, for
comparison: with itself after a change, and with other kernels under the same assumptions.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from drnn_core.errors import RuntimeUnavailableError
from drnn_runtimes.cuda_kernel.plan import KernelPlan

_LATENCIES = {
    "LDS": 29, "LDS.128": 33, "MUFU": 22, "LDG": 450, "LDL": 40, "S2R": 25, "S2UR": 25, "STS": 12, "STG": 12, "STL": 12,
    "SHFL": 24, "LDC": 30, "LDCU": 30, "I2F": 20, "F2I": 20, "POPC": 20, "VOTE": 12, "ELECT": 12, "IMAD": 5,
}  # fmt: skip
_OTHER = 15
_READ = 10  # until a store has read its registers
_WAITS = {"BAR": 22, "WARPSYNC": 10}  # of the issuing warp itself
_ROUNDS = 6  # until a loop's cycles repeat
_BESIDE_PRODUCTS = 16  # multiply-adds of a step's activations, at most


class Instruction:
    """One instruction.

    Args:
        text: As nvdisasm writes it.
        high: The upper 64 of its 128 bits.
    """

    def __init__(self, text: str, high: int) -> None:
        control = high >> 41
        self.text = text
        self.stall, self.wait = max(1, control & 15), control >> 11 & 63
        self.writes, self.reads = control >> 5 & 7, control >> 8 & 7
        self.name = re.sub(r"^@!?U?P\d+\s+", "", text).split()[0]

    @property
    def kind(self) -> str:
        """Its name without modifiers."""
        return self.name.partition(".")[0]

    @property
    def latency(self) -> int:
        """Cycles until its scoreboard is free."""
        wide = f"{self.kind}.128" if "128" in self.name else self.kind
        return _LATENCIES.get(wide, _LATENCIES.get(self.kind, _OTHER))


def nvdisasm() -> str | None:
    """The disassembler: on the path, or in NVIDIA's package beside NVRTC; else None."""
    spec = importlib.util.find_spec("nvidia")
    folders = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    inside = [str(path) for folder in folders for path in sorted(folder.glob("cu1*/bin/nvdisasm"))]
    return shutil.which("nvdisasm") or (inside[0] if inside else None)


def cycles_of_layers(plan: KernelPlan, loops: list[list[Instruction]]) -> list[float]:
    """Cycles of each layer for each step of the input: those of a step that it computes, times the share of such steps.

    The slowest layer sets the pace; `cycles_of_run` says of a whole sequence.

    Args:
        plan: A resident plan.
        loops: What `loops_of` gives of its image.

    Raises:
        ValueError: A layer's loop is not found.
    """
    return [
        cycles(loop_of_steps(loops, plan, index)) / plan.ahead * layer.fold / layer.dilation
        for index, layer in enumerate(plan.layers)
    ]


def cycles_of_run(plan: KernelPlan, layers: list[float], steps: int) -> float:
    """Cycles of a sequence: the layers are a pipeline over blocks of steps.

    Args:
        plan: A resident plan.
        layers: What `cycles_of_layers` gives.
        steps: Of the sequence.
    """
    turns = -(-steps // plan.block) + len(plan.layers)
    return turns * plan.block * max(layers)


def loop_of_steps(loops: list[list[Instruction]], plan: KernelPlan, index: int) -> list[Instruction]:
    """The loop in which a layer computes `plan.ahead` steps a round.

    Args:
        loops: What `loops_of` gives.
        plan: A resident plan.
        index: The layer.

    Raises:
        ValueError: It is not found. The message says how many multiply-adds the loops have.
    """
    layer = plan.layers[index]
    least = plan.ahead * plan.spec.gates * (layer.inputs + layer.hidden)
    most = least + plan.ahead * _BESIDE_PRODUCTS
    bodies = [body for body in loops if least <= multiply_adds(body) <= most]
    if len(bodies) != 1:
        raise ValueError(f"no loop of {least} multiply-adds among {[multiply_adds(body) for body in loops]}")
    return bodies[0]


def loops_of(image: bytes) -> list[list[Instruction]]:
    """The bodies of the innermost loops.

    Args:
        image: A cubin.

    Raises:
        RuntimeUnavailableError: There is no nvdisasm.
    """
    command = nvdisasm()
    if command is None:
        raise RuntimeUnavailableError("nvdisasm is not installed", "pip install nvidia-cuda-nvdisasm")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(image)
        listed = subprocess.run([command, "-hex", "-c", str(path)], capture_output=True, text=True, check=True)
    listing = listed.stdout
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    text = ""
    for line in listing.splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(instructions)
        elif first := re.match(r"\s*/\*[0-9a-f]+\*/\s+(.*?)\s*;\s*/\* 0x[0-9a-f]{16}", line):
            text = first[1]
        elif second := re.search(r"/\* 0x([0-9a-f]{16})", line):
            instructions.append(Instruction(text, int(second[1], 16)))
    spans = []
    for end, instruction in enumerate(instructions):
        target = re.search(r"BRA.*`\((\.L_x_\d+)\)", instruction.text)
        if target and labels.get(target[1], end + 1) <= end:
            spans.append((labels[target[1]], end + 1))
    inner = [(a, b) for a, b in spans if not any(a <= c and d <= b and (a, b) != (c, d) for c, d in spans)]
    return [instructions[a:b] for a, b in sorted(set(inner))]


def cycles(body: list[Instruction]) -> int:
    """Cycles of one round of a loop.

    Args:
        body: Its instructions.
    """
    now, free, rounds = 0, [0] * 8, []
    for _ in range(_ROUNDS):
        for instruction in body:
            now = max([now, *(free[board] for board in range(6) if instruction.wait >> board & 1)])
            if instruction.writes != 7:
                free[instruction.writes] = max(free[instruction.writes], now + instruction.latency)
            if instruction.reads != 7:
                free[instruction.reads] = max(free[instruction.reads], now + _READ)
            now += instruction.stall + _WAITS.get(instruction.kind, 0)
        rounds.append(now)
    return rounds[-1] - rounds[-2]


def multiply_adds(body: list[Instruction]) -> int:
    """How many multiply-adds of float32 a loop has.

    Args:
        body: Its instructions.
    """
    return sum(instruction.kind == "FFMA" for instruction in body)
