"""docs/bundle.md: its program, which has ONNX Runtime alone, gets what the bundle's own stream gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drnn_deploy import export
from drnn_models.checkpoint import Checkpoint, save_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes import Bundle
from tests.networks import random_weights
from tests.page_reader import understood

PAGE = (Path(__file__).parents[1] / "docs" / "bundle.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_a_program_of_its_own_streams_through_the_graph(
    cell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = ModelSpec(cell, (4, 3), (1, 2), Continuous(2), Head("sequence", 3))
    save_checkpoint("model.pt", Checkpoint(spec, random_weights(spec, 0), {"length": 8}))
    (typed,) = re.findall(r"^ {4}(drnn-export .*--no-ring.*)$", PAGE, re.MULTILINE)
    understood(typed)
    export("model.pt", "steps", forms=("step",), ring=False, engines=(), check="quick")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert "np.zeros((200, *shapes" in program
    samples = np.random.default_rng(0).standard_normal((200, 1, 1, 2)).astype(np.float32)
    given: list[Any] = []
    program = re.sub(r"np\.zeros\(\(200, [^)]*\), np\.float32\)", "samples", program)
    exec(program + "\n    given.append(output)\n", {"samples": samples, "given": given})
    with Bundle.open("steps").stream() as stream:
        expected = stream.push(samples[:, 0].transpose(1, 0, 2))
    np.testing.assert_allclose(np.concatenate(given, axis=1), expected, atol=1e-6)
