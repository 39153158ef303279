"""From evidence to one sentence: which stage of a network is at fault, and what in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import onnx

from drnn_deploy.debug.explanation import Explanation, StageResult, StateResult, wrong_stages
from drnn_export.named_graph import EVERY_LAYER, Difference


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What is known of a row that failed: fields of `Explanation`, and what else its verdict follows from.

    Attributes:
        runtime: The name of the runtime that failed.
        graph: The name of the graph.
        case: The golden case that the values are of.
        error: Why the row did not get as far as numbers, or "".
        stale: Whether the golden data is not of the weights.
        model: The graph's model, where it could be read.
        edges: Where its inputs and outputs differ from those that the weights make; see `drnn_export.onnx_diff`.
        differences: Where its inside differs.
        conditioning: Why right and wrong outputs cannot be told apart on this case, or "".
        narrower: The types that it computes in and should not, for the precision that the manifest says.
        stages: Every stage on right inputs, and as it ran.
        states: Every state output.
        node: See `drnn_deploy.debug.isolate.IsolatedStages`.
        rounding: See there.
        seen_on: The runtime whose values these are, where it is not the one that failed.
        note: What keeps the explanation from saying more.
    """

    runtime: str
    graph: str
    case: str = ""
    error: str = ""
    stale: bool = False
    model: onnx.ModelProto | None = None
    edges: tuple[Difference, ...] = ()
    differences: tuple[Difference, ...] = ()
    conditioning: str = ""
    narrower: str = ""
    stages: tuple[StageResult, ...] = ()
    states: tuple[StateResult, ...] = ()
    node: str = ""
    rounding: str = ""
    seen_on: str = ""
    note: str = ""

    @property
    def wrong(self) -> list[str]:
        """The stages that are wrong on right inputs, in the network's order."""
        return wrong_stages(self.stages, self.states)

    def changed(self, stage: str) -> list[Difference]:
        """The differences of the model that are in a stage."""
        return [difference for difference in self.differences if _is_in(stage, difference)]


def to_explanation(evidence: Evidence) -> Explanation:
    """The explanation that follows from the evidence."""
    culprit, verdict = _culprit(evidence)
    own = evidence.changed(culprit)
    others = [difference for difference in evidence.differences if difference not in own]
    findings = tuple(str(difference) for difference in (*evidence.edges, *own, *others))
    return Explanation(
        runtime=evidence.runtime,
        graph=evidence.graph,
        case=evidence.case,
        culprit=culprit,
        verdict=verdict,
        findings=findings,
        stages=evidence.stages,
        states=evidence.states,
        seen_on=evidence.seen_on,
        note=evidence.note,
    )


def _culprit(evidence: Evidence) -> tuple[str, str]:
    if evidence.stale:
        what = "the golden data is not of the bundle's weights: float64 gives other outputs"
        return "golden data", f"{what} on {evidence.case} inputs; export it again: drnn-export model.pt"
    if evidence.edges:
        return "edges", str(evidence.edges[0])
    if evidence.wrong:
        return _wrong_stage(evidence)
    telling = [difference for difference in evidence.differences if evidence.error or difference.stages]
    if telling and (evidence.error or not evidence.seen_on):
        first = telling[0]
        stage = first.stages[0] if first.stages else ""
        return stage, "; ".join(filter(None, (f"{stage}: {first}" if stage else str(first), evidence.error)))
    if evidence.error:
        return "runtime", evidence.error
    if evidence.conditioning:
        return "conditioning", evidence.conditioning
    if evidence.seen_on:
        what = f"the graph is right on {evidence.seen_on}, part by part"
        plugin = f", in which a plugin computes {evidence.node}" if evidence.node else ""
        return "runtime", f"{what}: the fault is in {evidence.runtime}, or in the engine that it runs{plugin}"
    return _no_stage(evidence)


def _wrong_stage(evidence: Evidence) -> tuple[str, str]:
    first, *others = evidence.wrong
    unseen = _unseen_before(evidence.stages, first)
    culprit = next((stage for stage in (*unseen, first) if evidence.changed(stage)), first)
    reasons = [f"{state.name} {state.remark}" for state in evidence.states if state.stage == culprit and state.remark]
    reasons += [str(difference) for difference in evidence.changed(culprit)[:1]]
    if evidence.narrower:
        reasons.append(evidence.narrower)
    if not evidence.changed(culprit):
        reasons.append(_runtime_at_fault(evidence))
    more = f" (also wrong on right inputs: {', '.join(others)})" if others else ""
    return culprit, f"{culprit}: {'; '.join(reasons)}{more}"


def _runtime_at_fault(evidence: Evidence) -> str:
    seen = evidence.seen_on or evidence.runtime
    what = "nothing in it differs from what the weights make" if evidence.model is not None else "the weights are right"
    text = f"{what}, but {seen} computes it wrong"
    if evidence.node:
        text += f", from {evidence.node} on"
    return f"{text}; the error is that of products in {evidence.rounding}" if evidence.rounding else text


def _no_stage(evidence: Evidence) -> tuple[str, str]:
    if not evidence.stages:
        return "", evidence.note or "the cases that failed are not known here, and nothing was run again"
    off = [stage for stage in evidence.stages if stage.whole is not None and not stage.whole.passed]
    if evidence.model is None:
        return "head", "head: every layer is right by itself: the fault is before, between or behind the layers"
    if off:
        adds = max(evidence.stages, key=lambda stage: (stage.alone.in_noise or 0.0) if stage.alone else 0.0)
        what = "no part is past its limit on right inputs: the errors build up from part to part"
        return "", f"{what}, and {adds.stage} adds the most"
    return "", "every part is within its limit, on right inputs and as it ran: this is rounding, or was not seen again"


def _unseen_before(stages: Sequence[StageResult], culprit: str) -> list[str]:
    """The stages right before the culprit whose tensor the graph lacks: their errors show in the culprit's."""
    unseen: list[str] = []
    for stage in stages:
        if stage.stage == culprit:
            return unseen
        unseen = [*unseen, stage.stage] if stage.alone is None else []
    return []


def _is_in(stage: str, difference: Difference) -> bool:
    if stage in difference.stages:
        return True
    if stage == EVERY_LAYER:
        return any(name.startswith("layer") for name in difference.stages)
    if stage == "head":
        return "fusion" in difference.stages
    return EVERY_LAYER in difference.stages and stage.startswith("layer")
