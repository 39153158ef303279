"""From clues to one sentence: which part of a network is at fault, and what in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import onnx

from drnn_deploy.debug.explanation import Explanation, PartResult, StateResult, wrong_parts
from drnn_export.onnx_diff import EVERY_LAYER, Difference


@dataclasses.dataclass(frozen=True)
class Clues:
    """What is known of a row that failed; the fields of `Explanation`, and what it is concluded from.

    error: why it did not get as far as numbers, or "". stale: the golden data is not of the weights. edges,
    differences: of the model from what the weights make, see `drnn_export.onnx_diff`; narrower: types that it computes
    in and should not, for the precision that the manifest says. node, rounding: see
    `drnn_deploy.debug.isolate.Examined`.
    """

    runtime: str
    graph: str
    case: str = ""
    error: str = ""
    stale: bool = False
    model: onnx.ModelProto | None = None
    edges: tuple[Difference, ...] = ()
    differences: tuple[Difference, ...] = ()
    narrower: str = ""
    parts: tuple[PartResult, ...] = ()
    states: tuple[StateResult, ...] = ()
    node: str = ""
    rounding: str = ""
    seen_on: str = ""
    note: str = ""

    @property
    def wrong(self) -> list[str]:
        """The parts that are wrong on right inputs, in the network's order."""
        return wrong_parts(self.parts, self.states)

    def changed(self, part: str) -> list[Difference]:
        """The differences of the model that are in a part."""
        return [difference for difference in self.differences if _is_in(part, difference)]


def conclude(clues: Clues) -> Explanation:
    """The explanation that follows from the clues."""
    culprit, verdict = _culprit(clues)
    own = clues.changed(culprit)
    others = [difference for difference in clues.differences if difference not in own]
    findings = tuple(str(difference) for difference in (*clues.edges, *own, *others))
    return Explanation(
        runtime=clues.runtime,
        graph=clues.graph,
        case=clues.case,
        culprit=culprit,
        verdict=verdict,
        findings=findings,
        parts=clues.parts,
        states=clues.states,
        seen_on=clues.seen_on,
        note=clues.note,
    )


def _culprit(clues: Clues) -> tuple[str, str]:
    if clues.stale:
        what = "the golden data is not of the bundle's weights: float64 gives other outputs"
        return "golden data", f"{what} on {clues.case} inputs; export it again: drnn-export model.pt"
    if clues.edges:
        return "edges", str(clues.edges[0])
    if clues.wrong:
        return _wrong_part(clues)
    if clues.differences and (clues.error or not clues.seen_on):
        first = clues.differences[0]
        part = first.parts[0] if first.parts else ""
        return part, "; ".join(filter(None, (f"{part}: {first}" if part else str(first), clues.error)))
    if clues.error:
        return "runtime", clues.error
    if clues.seen_on:
        what = f"the graph is right on {clues.seen_on}, part by part"
        return "runtime", f"{what}: the fault is in {clues.runtime}, or in the engine that it runs"
    return _no_part(clues)


def _wrong_part(clues: Clues) -> tuple[str, str]:
    first, *others = clues.wrong
    unseen = _unseen_before(clues.parts, first)
    culprit = next((part for part in (*unseen, first) if clues.changed(part)), first)
    reasons = [f"{state.name} {state.remark}" for state in clues.states if state.part == culprit and state.remark]
    reasons += [str(difference) for difference in clues.changed(culprit)[:1]]
    if clues.narrower:
        reasons.append(clues.narrower)
    if not clues.changed(culprit):
        reasons.append(_runtime_at_fault(clues))
    more = f" (also wrong on right inputs: {', '.join(others)})" if others else ""
    return culprit, f"{culprit}: {'; '.join(reasons)}{more}"


def _runtime_at_fault(clues: Clues) -> str:
    seen = clues.seen_on or clues.runtime
    what = "nothing in it differs from what the weights make" if clues.model is not None else "the weights are right"
    text = f"{what}, but {seen} computes it wrong"
    if clues.node:
        text += f", from {clues.node} on"
    return f"{text}; the error is that of products in {clues.rounding}" if clues.rounding else text


def _no_part(clues: Clues) -> tuple[str, str]:
    if not clues.parts:
        return "", clues.note or "the cases that failed are not known here, and nothing was run again"
    off = [part for part in clues.parts if part.whole is not None and not part.whole.passed]
    if clues.model is None:
        return "head", "head: every layer is right by itself: the fault is before, between or behind the layers"
    if off:
        adds = max(clues.parts, key=lambda part: (part.alone.in_noise or 0.0) if part.alone else 0.0)
        what = "no part is past its limit on right inputs: the errors build up from part to part"
        return "", f"{what}, and {adds.part} adds the most"
    return "", "every part is within its limit, on right inputs and as it ran: this is rounding, or was not seen again"


def _unseen_before(parts: Sequence[PartResult], culprit: str) -> list[str]:
    """The parts right before the culprit whose tensor the graph lacks: their errors show in the culprit's."""
    found: list[str] = []
    for part in parts:
        if part.part == culprit:
            return found
        found = [*found, part.part] if part.alone is None else []
    return []


def _is_in(part: str, difference: Difference) -> bool:
    if part in difference.parts:
        return True
    if part == "head":
        return "fusion" in difference.parts
    return EVERY_LAYER in difference.parts and part.startswith("layer")
