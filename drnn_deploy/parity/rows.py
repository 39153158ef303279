"""Which sequence every row of every batch gets, so that no row is left out and no two rows can be mixed up unseen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drnn_runtimes.bundle import GraphInfo

Rows = NDArray[np.int64]


def batch_sizes(graph: GraphInfo, *, between: bool) -> list[int | None]:
    """The sizes of batches that a graph is run with: its own, or of a free one both ends of the profile and its middle.

    Args:
        graph: The graph.
        between: Whether sizes between those are run, too.

    Returns:
        Sizes in ascending order; None where the graph takes any number and has no profile.
    """
    if graph.batch is not None or graph.profile is None:
        return [graph.batch]
    low, usual, high = graph.profile
    more = {(low + usual) // 2, (usual + high) // 2} if between else set()
    return [*sorted({low, usual, high} | more)]


def assignments(count: int, size: int | None, *, apart: bool = False) -> list[Rows]:
    """The sequences that the rows of each run get. Every sequence occurs, and every row of a run has one.

    Args:
        count: The number of sequences, at least 1.
        size: The rows of a batch; None for a graph that takes any number: one sequence, then all the others together.
        apart: Whether any two rows of a batch must get different sequences in some run. Of the digits of a row's
            number in base `count`, each run takes another.

    Returns:
        For each run, the sequence of each row, (rows,).
    """
    if size is None:
        return [np.arange(1), np.arange(1, count)][: min(count, 2)]
    if size <= count:
        return [np.arange(start, start + size) % count for start in range(0, count, size)]
    rows = np.arange(size)
    runs = [rows % count]
    while apart and 1 < count ** len(runs) < size:
        runs.append(rows // count ** len(runs) % count)
    return runs


def first_places(runs: Sequence[Rows], count: int) -> NDArray[np.int64]:
    """Where each sequence comes first, among the rows of all runs one after the other.

    Args:
        runs: What `assignments` gives.
        count: The number of sequences.

    Returns:
        Places, (count,).
    """
    every, first = np.unique(np.concatenate(runs), return_index=True)
    assert len(every) == count
    return first
