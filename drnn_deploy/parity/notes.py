"""Sentences of a report that no row says: what a precision does before any runtime rounds anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drnn_core.types import Precision
from drnn_deploy.parity.known_answers import Answers
from drnn_runtimes.bundle import GoldenCase, GraphInfo

_SHOWN = ("task", "normal", "stream")  # the first of these cases that there is says most of a network's use


def weight_notes(graphs: Sequence[GraphInfo], answers: Answers) -> tuple[str, ...]:
    """What rounding the weights does, of each precision: its graphs are compared with the network of rounded weights.

    Args:
        graphs: The graphs that are checked.
        answers: What is right for them.

    Returns:
        A sentence for each precision other than fp32.
    """
    notes = {}
    for graph in graphs:
        if graph.precision != "fp32" and graph.precision not in notes:
            cases = {case.name: case for case in answers.cases(graph) if graph.precision in case.narrow_outputs}
            shown = [cases[name] for name in _SHOWN if name in cases]
            if shown:
                notes[graph.precision] = _weight_note(graph.precision, shown[0])
    return tuple(notes.values())


def _weight_note(precision: Precision, case: GoldenCase) -> str:
    rounded, scale = case.narrow_outputs[precision], float(np.abs(case.outputs).max())
    moved = float(np.abs(rounded - case.outputs).max())
    changed = float(np.mean(rounded.argmax(axis=-1) != case.outputs.argmax(axis=-1)))
    share = f", {moved / scale:.2g} of the largest" if scale else ""
    return (
        f"{precision} graphs are compared with the network of rounded weights; the rounding itself moves outputs by up "
        f"to {moved:.1e}{share}, and changes {changed:.2%} of the predictions ({case.name} inputs)"
    )
