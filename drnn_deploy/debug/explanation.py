"""What is found out about a runtime that failed parity, as values: see `drnn_deploy.debug.explain`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

_IN_JSON = {"stage": "part", "stages": "parts"}


@dataclasses.dataclass(frozen=True)
class Deviation:
    """One tensor against float64. Errors are the largest, None where a value is missing, misshapen or not finite.

    limit: `drnn_deploy.parity.tolerance.NOISE_MULTIPLE` times the tensor's own noise. first_bad_step: the time step (of
    a network's input) that is off first, None where all are within the limit. growth: the largest error of up to 16
    steps, evenly spaced, from first to last.
    """

    absolute: float | None
    in_noise: float | None
    limit: float
    first_bad_step: int | None
    growth: tuple[float | None, ...]

    @property
    def passed(self) -> bool:
        """Whether every step is within the limit."""
        return self.first_bad_step is None


@dataclasses.dataclass(frozen=True)
class StageResult:
    """A part of the network (`input`, `layer 0`, ..., `head`) and the tensor that it ends in.

    alone: on right inputs and states. whole: as it ran, on what the parts before it gave. None: could not be seen.
    """

    stage: str
    tensor: str
    alone: Deviation | None
    whole: Deviation | None


@dataclasses.dataclass(frozen=True)
class StateResult:
    """A state output, or its rows that belong to one part, after runs on right inputs and states.

    remark: what it is in place of what it should be, where that can be told.
    """

    stage: str
    name: str
    alone: Deviation
    remark: str


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Where a runtime goes wrong on a graph.

    culprit: the first part that is wrong on right inputs, `golden data`, `edges`, `runtime`, or "" where none is found.
    verdict: one sentence. findings: what in the graph differs from what the bundle's weights make, the culprit's
    first. note: what keeps the explanation from saying more. seen_on: the runtime whose values these are, where it is
    not the one that failed. case: the golden case they are of. command: to see it again. reproduction: a file for
    `drnn_deploy.debug.repro`, or "".
    """

    runtime: str
    graph: str
    case: str
    culprit: str
    verdict: str
    findings: tuple[str, ...] = ()
    stages: tuple[StageResult, ...] = ()
    states: tuple[StateResult, ...] = ()
    seen_on: str = ""
    note: str = ""
    command: str = ""
    reproduction: str = ""

    @property
    def first_off(self) -> StageResult | None:
        """The first part whose values are past their limit as it ran."""
        return next((stage for stage in self.stages if stage.whole is not None and not stage.whole.passed), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types. A stage of the network is called a part there."""
        return dataclasses.asdict(self, dict_factory=lambda fields: {_IN_JSON.get(name, name): v for name, v in fields})


def wrong_stages(stages: Sequence[StageResult], states: Sequence[StateResult]) -> list[str]:
    """The parts that are wrong on right inputs, by their tensor or a state, in the network's order."""
    wrong = {stage.stage for stage in stages if stage.alone is not None and not stage.alone.passed}
    wrong |= {state.stage for state in states if not state.alone.passed}
    last = ("layers", "fusion", "head")

    def order(stage: str) -> tuple[int, int]:
        if stage.startswith("layer "):
            return 1, int(stage.removeprefix("layer "))
        return (2, last.index(stage)) if stage in last else (0, 0)

    return sorted(wrong, key=order)
