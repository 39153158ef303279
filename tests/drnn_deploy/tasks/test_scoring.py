"""The first sequences of a split, and no more work for them than they take."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from drnn_deploy.tasks import Batch
from drnn_deploy.tasks.scoring import limited


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.none() | st.integers(1, 40))
def test_limit_takes_the_first_sequences_and_draws_no_more_batches(sizes: list[int], limit: int | None) -> None:
    ends, drawn = np.cumsum(sizes).tolist(), []

    def batches() -> Iterator[Batch]:
        for end, size in zip(ends, sizes, strict=True):
            drawn.append(end)
            numbers = np.arange(end - size, end)
            yield Batch(numbers, numbers, numbers)

    taken = list(limited(batches(), limit))
    wanted = ends[-1] if limit is None else min(limit, ends[-1])
    for name in ("inputs", "targets", "groups"):
        assert np.concatenate([getattr(batch, name) for batch in taken]).tolist() == list(range(wanted))
    assert drawn == [end for end, size in zip(ends, sizes, strict=True) if end - size < wanted]
