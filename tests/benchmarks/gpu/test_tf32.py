"""What TF32 does to a network is measured by switch and by variable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.gpu import tf32
from benchmarks.gpu.plan import OVERRIDES, RUNTIMES, Setting
from tests.benchmarks.gpu.small_parts import done


@pytest.mark.parametrize("runtime", RUNTIMES["cpu"])
def test_what_tf32_does_is_measured_with_both_settings_of_the_switch(runtime: str, checked: Setting) -> None:
    found = done(tf32.rounding(checked, "some", runtime, OVERRIDES[0]))
    assert found["status"] == "ok"
    assert [(row["allowed"], row["override"], row["passed"]) for row in found["rows"]] == [
        (False, "0", True),
        (True, "0", True),
    ]
    assert all(0 < row["in_noise"] < 8 for row in found["rows"])


@pytest.mark.parametrize(("override", "status"), [("0", "failed"), ("unset", "ok")])
def test_float32_that_is_not_float32_fails_only_where_both_say_that_it_is(
    override: str, status: str, checked: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable unset it is what the check wants to know."""
    right = tf32.OnnxRuntimeSession.run

    def coarse(self: Any, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[Any]]:
        return {name: value + np.float32(1e-3) for name, value in right(self, inputs).items()}

    monkeypatch.setattr(tf32.OnnxRuntimeSession, "run", coarse)
    found = done(tf32.rounding(checked, "some", "onnxruntime-cpu", override))
    assert found["status"] == status
    assert not any(row["passed"] for row in found["rows"])
