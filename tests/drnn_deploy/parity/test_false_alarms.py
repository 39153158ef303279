"""Right graphs pass, whatever the network: the limit of parity on networks as people have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from drnn_core.types import Emission
from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint
from tests.networks import golden_cases
from tests.random_networks import network

_UNROLLED_STEPS = 1_000  # of all layers together: more take minutes to load
_GROUP = 50
GROUPS = [
    *(pytest.param(False, start, _GROUP, marks=pytest.mark.nightly) for start in range(0, 1_900, _GROUP)),
    *(pytest.param(True, start, 10, marks=pytest.mark.nightly) for start in range(0, 100, 10)),
    pytest.param(False, 1_900, 6),
]


def answers(
    checkpoint: Checkpoint, length: int, inputs: NDArray[np.generic]
) -> Iterator[tuple[str, NDArray[np.generic]]]:
    import onnxruntime

    quiet = onnxruntime.SessionOptions()
    quiet.intra_op_num_threads, quiet.log_severity_level = 1, 3
    spec = checkpoint.dilated
    emissions: tuple[Emission, ...] = ("fused", "unrolled")
    for emission in emissions:
        if emission == "fused" or length * spec.layers <= _UNROLLED_STEPS:
            request = GraphRequest(form="sequence", emission=emission, steps=length, batch=len(inputs), prune=True)
            content = emit(spec, checkpoint.weights, request, node_budget=10**6).SerializeToString()
            session = onnxruntime.InferenceSession(content, quiet, providers=["CPUExecutionProvider"])
            yield emission, session.run(None, {"input": inputs})[0]
    with torch.inference_mode():
        yield "torch", checkpoint.network()(torch.from_numpy(inputs)).numpy()


@pytest.mark.parametrize("long, start, count", GROUPS)
def test_right_graphs_pass(long: bool, start: int, count: int, record_property: pytest.RecordProperty) -> None:
    """A case that is not compared is no alarm; hardly any network may have nothing that is."""
    alarms: list[str] = []
    verdicts: Counter[str] = Counter()
    worst, nothing = 0.0, 0
    for number in range(start, start + count):
        checkpoint, length = network(number, long=long, longest=4000 if count > 6 else 200)
        compared = False
        for case in golden_cases(checkpoint, length):
            for runtime, outputs in answers(checkpoint, length, case.inputs):
                result = judge(case, outputs)
                verdicts[result.verdict] += 1
                compared |= result.passed
                if result.verdict != "not compared":
                    worst = max(worst, np.inf if result.in_noise is None else result.in_noise)
                if result.verdict == "failed":
                    alarms.append(f"{number} {checkpoint.dilated} T {length} {case.name} {runtime}: {result.in_noise}")
        nothing += not compared
    record_property(f"false alarms, networks {start} to {start + count - 1}{' long' * long}", str(dict(verdicts)))
    assert alarms == []
    assert worst < NOISE_MULTIPLE
    assert nothing <= 0.1 * count
