"""Sentences of a report that no row says: what a precision does before any runtime rounds anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drnn_core.types import Precision
from drnn_runtimes.bundle import GoldenCase, GraphInfo

_SHOWN = ("task", "normal", "stream")  # the first of these cases that there is says most of a network's use


def weight_notes(graphs: Sequence[GraphInfo], cases: Sequence[GoldenCase]) -> tuple[str, ...]:
    """What rounding the weights does, of each precision whose graphs are compared with the network of rounded weights.

    Args:
        graphs: The graphs that are checked.
        cases: The golden cases.

    Returns:
        A sentence for each such precision.
    """
    shown = sorted((case for case in cases if case.name in _SHOWN), key=lambda case: _SHOWN.index(case.name))
    precisions = sorted({graph.precision for graph in graphs})
    return tuple(
        _weight_note(precision, case)
        for precision in precisions
        for case in shown[:1]
        if precision in case.narrow_outputs
    )


def _weight_note(precision: Precision, case: GoldenCase) -> str:
    rounded, scale = case.narrow_outputs[precision], float(np.abs(case.outputs).max())
    moved = float(np.abs(rounded - case.outputs).max())
    changed = float(np.mean(rounded.argmax(axis=-1) != case.outputs.argmax(axis=-1)))
    share = f", {moved / scale:.2g} of the largest" if scale else ""
    return (
        f"{precision} graphs are compared with the network of rounded weights; the rounding itself moves outputs by up "
        f"to {moved:.1e}{share}, and changes {changed:.2%} of the predictions ({case.name} inputs)"
    )
