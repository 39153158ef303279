"""How many steps of a task are a second of sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drnn_deploy.datasets.audio import HIGHEST_RATE, LOWEST_RATE

_SPEAKERS_RATE = 8_000  # of speaker identification, unless its options say another


def steps_a_second(task: Mapping[str, Any]) -> int | None:
    """Look up the rate of a task that reads sound sample by sample.

    Args:
        task: What a checkpoint or a bundle says of its task.

    Returns:
        Samples a second; None where a step is no sample, or no rate of sound is said.
    """
    options = task.get("options")
    said: dict[str, Any] = options if isinstance(options, dict) else {}
    rate = said.get("rate", _SPEAKERS_RATE if task.get("name") == "speaker-id" else None)
    right = type(rate) is int and LOWEST_RATE <= rate <= HIGHEST_RATE and said.get("features", "raw") == "raw"
    return rate if right else None
