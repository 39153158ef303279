"""Right graphs pass, whatever the network: the limit of parity on networks as people have them."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from drnn_core.types import Emission
from drnn_deploy.parity.compare import judge
from drnn_deploy.parity.tolerance import DEFAULT, LARGEST, NOISE_MULTIPLE, USUAL
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_models.checkpoint import Checkpoint
from tests.networks import golden_cases
from tests.random_networks import network, network_at_the_edge

LARGEST_AT_THE_EDGE = 2.2  # noises
_UNROLLED_STEPS = 1_000  # of all layers together: more take minutes to load
_GROUP = 50
GROUPS = [
    *(pytest.param(False, start, _GROUP, marks=pytest.mark.nightly) for start in range(0, 2_000, _GROUP)),
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


@dataclasses.dataclass
class Tally:
    """What became of the cases of some networks.

    Attributes:
        verdicts: Verdict -> cases.
        worst: The largest error that was compared, in noises.
        alarms: Cases that failed, in words.
        nothing: Networks of which no case was compared.
    """

    verdicts: Counter[str] = dataclasses.field(default_factory=Counter)
    worst: float = 0.0
    alarms: list[str] = dataclasses.field(default_factory=list)
    nothing: int = 0

    def add(self, name: str, checkpoint: Checkpoint, length: int) -> None:
        """Run all cases of a network on all runtimes."""
        compared, runtimes = False, runs(checkpoint, length)
        for case in golden_cases(checkpoint, length):
            for runtime, run in runtimes.items():
                result = judge(case, run(case.inputs))
                self.verdicts[result.verdict] += 1
                compared |= result.passed
                if result.verdict != "not compared":
                    self.worst = max(self.worst, np.inf if result.in_noise is None else result.in_noise)
                if result.verdict == "failed":
                    what = f"{name} {checkpoint.dilated} T {length} {case.name} {runtime}: {result.in_noise}"
                    self.alarms.append(what)
        self.nothing += not compared

    def check(self, largest: float = LARGEST) -> None:
        """Nothing fails, and no error is larger than is said."""
        assert self.alarms == []
        assert round(self.worst, 1) <= largest

    def __str__(self) -> str:
        return f"{dict(self.verdicts)}, largest error {self.worst:.2f} noises"


@pytest.mark.parametrize("long, start, count", GROUPS)
def test_right_graphs_pass(long: bool, start: int, count: int, record_property: pytest.RecordProperty) -> None:
    """A case that is not compared is no alarm; hardly any network may have nothing that is."""
    tally = Tally()
    for number in range(start, start + count):
        tally.add(f"{number}", *network(number, long=long, longest=4000 if count > 6 else 200))
    record_property(f"false alarms, networks {start} to {start + count - 1}{' long' * long}", str(tally))
    tally.check()
    assert tally.nothing <= 0.1 * count


def test_swinging_units_pass(record_property: pytest.RecordProperty) -> None:
    """Three layers of one unit that swing out from zero, where ONNX Runtime's RNN is off by thousands of spacings."""
    tally = Tally()
    tally.add("351", *network(351))
    record_property("false alarms, network 351", str(tally))
    tally.check()
    assert tally.worst < NOISE_MULTIPLE / 2


EDGE_GROUPS = [  # by day one of each cell and two of the rnn, half of them without biases
    pytest.param(2, 4),
    *(pytest.param(start, 2, marks=pytest.mark.nightly) for start in (0, 6)),
    *(pytest.param(start, 40, marks=pytest.mark.nightly) for start in range(8, 328, 40)),
]


@pytest.mark.parametrize("start, count", EDGE_GROUPS)
def test_right_graphs_pass_at_the_edge(start: int, count: int, record_property: pytest.RecordProperty) -> None:
    tally = Tally()
    for number in range(start, start + count):
        tally.add(f"{number}", *network_at_the_edge(number))
    record_property(f"false alarms, networks at the edge {start} to {start + count - 1}", str(tally))
    tally.check(LARGEST_AT_THE_EDGE)


def test_the_pages_and_every_report_say_the_same_of_right_graphs() -> None:
    docs = Path(__file__).parents[3] / "docs"
    page = (docs / "parity.md").read_text(encoding="utf-8")
    assert f"| under {USUAL} noises in 99 % of the cases, at most {LARGEST}; no right graph failed |" in page
    assert f"| at most {LARGEST_AT_THE_EDGE} |" in page
    assert f"at most {LARGEST}, over 2,100 random" in (docs / "concepts" / "noise.md").read_text(encoding="utf-8")
    assert f"under {USUAL} in 99 % of the cases and at most {LARGEST})" in DEFAULT.rule
