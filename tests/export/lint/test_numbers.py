"""What passes the lint computes the same: NVIDIA's parsed network, evaluated in NumPy, beside ONNX Runtime."""

from __future__ import annotations

import collections
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from drnn_core.errors import InputError
from drnn_runtimes.trt.bindings import collecting_logger, parse_network, tensorrt_module
from drnn_runtimes.trt_numpy.program import NetworkProgram
from tests.export.lint.confusion import described, drafts, outcomes
from tests.export.lint.drafts import Draft, feeds, model
from tests.export.lint.examples import examples

pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")
Arrays = list[NDArray[Any]]


def parsed(draft: Draft, path: Path) -> Arrays | None:
    """What NVIDIA's network of a node computes; None where it has layers that are not evaluated."""
    module = tensorrt_module("tensorrt-rtx").loaded
    graph = model(draft)
    path.write_bytes(graph.SerializeToString())
    logger = collecting_logger(module)
    builder = module.Builder(logger)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    try:
        program = NetworkProgram(module, parse_network(module, builder, logger, str(path)), lambda: constants)
        made = program.run(feeds(draft))
    except (InputError, ValueError):
        return None
    return [made[output.name] for output in graph.graph.output]


def by_onnx_runtime(draft: Draft) -> Arrays | None:
    """What ONNX Runtime computes; None where it does not run the node."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model(draft).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        made: Arrays = session.run(None, {name: np.asarray(value) for name, value in feeds(draft).items()})
    except Exception:  # of pybind's own kinds
        return None
    return made


def differ(one: Arrays, other: Arrays) -> bool:
    return any(not _close(left, right) for left, right in zip(one, other, strict=True))


def _close(left: NDArray[Any], right: NDArray[Any]) -> bool:
    """Float16 rounds in other places: each layer of the one, each operator of the other."""
    limit = 2e-2 if left.dtype.itemsize == 2 else 1e-4
    wide = (value.astype(np.float64) for value in (left, right))
    return left.shape == right.shape and left.dtype == right.dtype and np.allclose(*wide, limit, limit, equal_nan=True)


def check(nodes: Sequence[Draft], folder: Path) -> dict[str, int]:
    """Compare the nodes that pass the lint; returns how many were equal, of how many."""
    counted: collections.Counter[str] = collections.Counter()
    different = []
    for outcome in outcomes(nodes, folder, build=False):
        if not outcome.verdict.accepted or outcome.errors:
            continue
        made = parsed(outcome.draft, folder / "node.onnx")
        wanted = None if made is None else by_onnx_runtime(outcome.draft)
        if made is None or wanted is None:
            counted["not evaluated" if made is None else "not run by ONNX Runtime"] += 1
        elif differ(made, wanted):
            different.append(described(outcome))
        else:
            counted["equal"] += 1
    assert not different, "\n".join(different)
    return counted


def test_what_passes_computes_the_same(tmp_path: Path) -> None:
    counted = check(drafts(random.Random(3), 80), tmp_path)
    assert counted["equal"] > 20


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(2))
def test_what_passes_computes_the_same_for_every_operator(
    seed: int, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    counted = check(drafts(random.Random(seed), 1500, examples(tmp_path)), tmp_path)
    record_property(f"numbers of nodes that pass the lint, seed {seed}", str(dict(counted)))
    assert counted["equal"] > 200
