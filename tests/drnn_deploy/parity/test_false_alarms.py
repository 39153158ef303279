"""Right graphs pass, whatever the network: the limit of parity on networks as people have them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable

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


Run = Callable[[NDArray[np.generic]], NDArray[np.generic]]


def runs(checkpoint: Checkpoint, length: int) -> dict[str, Run]:
    """Name -> outputs of a network through a runtime. Each graph is emitted and loaded once for all cases."""
    import onnxruntime

    quiet = onnxruntime.SessionOptions()
    quiet.intra_op_num_threads, quiet.log_severity_level = 1, 3
    spec, module = checkpoint.dilated, checkpoint.network()

    @functools.cache
    def loaded(emission: Emission, batch: int) -> onnxruntime.InferenceSession:
        request = GraphRequest(form="sequence", emission=emission, steps=length, batch=batch, prune=True)
        content = emit(spec, checkpoint.weights, request, node_budget=10**6).SerializeToString()
        return onnxruntime.InferenceSession(content, quiet, providers=["CPUExecutionProvider"])

    def graph(emission: Emission, inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        (outputs,) = loaded(emission, len(inputs)).run(None, {"input": inputs})
        return outputs

    def torch_module(inputs: NDArray[np.generic]) -> NDArray[np.generic]:
        with torch.inference_mode():
            outputs: NDArray[np.float32] = module(torch.from_numpy(inputs)).numpy()
        return outputs

    found: dict[str, Run] = {"fused": functools.partial(graph, "fused"), "torch": torch_module}
    if length * spec.layers <= _UNROLLED_STEPS:
        found["unrolled"] = functools.partial(graph, "unrolled")
    return found


@pytest.mark.parametrize("long, start, count", GROUPS)
def test_right_graphs_pass(long: bool, start: int, count: int, record_property: pytest.RecordProperty) -> None:
    """A case that is not compared is no alarm; hardly any network may have nothing that is."""
    alarms: list[str] = []
    verdicts: Counter[str] = Counter()
    worst, nothing = 0.0, 0
    for number in range(start, start + count):
        checkpoint, length = network(number, long=long, longest=4000 if count > 6 else 200)
        compared, runtimes = False, runs(checkpoint, length)
        for case in golden_cases(checkpoint, length):
            for runtime, run in runtimes.items():
                result = judge(case, run(case.inputs))
                verdicts[result.verdict] += 1
                compared |= result.passed
                if result.verdict != "not compared":
                    worst = max(worst, np.inf if result.in_noise is None else result.in_noise)
                if result.verdict == "failed":
                    alarms.append(f"{number} {checkpoint.dilated} T {length} {case.name} {runtime}: {result.in_noise}")
        nothing += not compared
    told = f"{dict(verdicts)}, largest error {worst:.2f} noises"
    record_property(f"false alarms, networks {start} to {start + count - 1}{' long' * long}", told)
    assert alarms == []
    assert worst < NOISE_MULTIPLE
    assert nothing <= 0.1 * count
