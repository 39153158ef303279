"""The rate of sound is read in one way, whatever a file says."""

from __future__ import annotations

from typing import Any

import pytest

from drnn_deploy.datasets.rate import steps_a_second

SPEAKERS = "speaker-id"


@pytest.mark.parametrize(
    ("task", "rate"),
    [
        ({}, None),
        ({"name": SPEAKERS}, 8_000),
        ({"name": SPEAKERS, "options": {"rate": 16_000}}, 16_000),
        ({"name": SPEAKERS, "options": {"rate": 16_000, "features": "mfcc"}}, None),
        ({"name": "mine", "options": {"rate": 44_100}}, 44_100),
        ({"name": "mine", "options": {}}, None),
        ({"name": SPEAKERS, "options": 3}, 8_000),
        *(({"options": {"rate": rate}}, None) for rate in (0, -1, 1_999, 192_001, 1 << 24, 8e3, True, "8000", None)),
    ],
)
def test_samples_are_counted_where_a_step_is_one(task: dict[str, Any], rate: int | None) -> None:
    assert steps_a_second(task) == rate
