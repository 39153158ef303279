"""What is found out about a runtime that failed parity, as values: see `drnn_deploy.debug.explain`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

_IN_JSON = {"stage": "part", "stages": "parts"}


@dataclasses.dataclass(frozen=True)
class Deviation:
    """One tensor against float64.

    Attributes:
        absolute: The largest error; None where a value is missing, misshapen or not finite.
        in_noise: The same in units of the tensor's own noise.
        limit: `drnn_deploy.parity.tolerance.NOISE_MULTIPLE` times that noise.
        first_bad_step: The first time step (of the network's input) past the limit; None where all are within it.
        growth: The largest error of up to 16 steps, evenly spaced from first to last.
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
    """A stage of the network (`input`, `layer 0`, ..., `head`) and the tensor that it ends in.

    Attributes:
        stage: The name of the stage.
        tensor: The name of the tensor in the graph.
        alone: Its deviation on right inputs and states; None where it could not be seen.
        whole: Its deviation as it ran, on what the stages before it gave; None where it could not be seen.
    """

    stage: str
    tensor: str
    alone: Deviation | None
    whole: Deviation | None


@dataclasses.dataclass(frozen=True)
class StateResult:
    """A state output, or its rows that belong to one stage, after runs on right inputs and states.

    Attributes:
        stage: The name of the stage.
        name: The name of the output.
        alone: Its deviation.
        remark: What it is in place of what it should be, where that can be told.
    """

    stage: str
    name: str
    alone: Deviation
    remark: str


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Where a runtime goes wrong on a graph.

    Attributes:
        runtime: The name of the runtime that failed.
        graph: The name of the graph.
        case: The golden case that the values are of.
        culprit: The first stage that is wrong on right inputs, `golden data`, `edges`, `runtime`, `conditioning`, or
            "" for none.
        verdict: One sentence.
        findings: What in the graph differs from what the bundle's weights make; the culprit's come first.
        stages: Every stage, in the network's order.
        states: Every state output.
        seen_on: The runtime whose values these are, where it is not the one that failed.
        note: What keeps the explanation from saying more.
        command: The command that shows it again.
        reproduction: A file for `drnn_deploy.debug.repro`, or "".
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
        """The first stage whose values are past their limit as it ran."""
        return next((stage for stage in self.stages if stage.whole is not None and not stage.whole.passed), None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types. A stage of the network is called a part there."""
        return dataclasses.asdict(self, dict_factory=lambda fields: {_IN_JSON.get(name, name): v for name, v in fields})


def wrong_stages(stages: Sequence[StageResult], states: Sequence[StateResult]) -> list[str]:
    """The stages that are wrong on right inputs, by their tensor or a state.

    Args:
        stages: Results of the stages.
        states: Results of the state outputs.

    Returns:
        Their names without repetition, in the network's order.
    """
    wrong = {stage.stage for stage in stages if stage.alone is not None and not stage.alone.passed}
    wrong |= {state.stage for state in states if not state.alone.passed}
    last = ("layers", "fusion", "head")

    def order(stage: str) -> tuple[int, int]:
        if stage.startswith("layer "):
            return 1, int(stage.removeprefix("layer "))
        return (2, last.index(stage)) if stage in last else (0, 0)

    return sorted(wrong, key=order)
