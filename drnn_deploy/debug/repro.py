"""A parity failure as one small file: the inputs, what float64 makes of them, what the runtime did, and the limit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError
from drnn_core.npz import reading_npz, write_npz
from drnn_deploy.parity.inference import answered_case
from drnn_deploy.parity.one_case import check_batches
from drnn_deploy.parity.results import CaseResult
from drnn_deploy.parity.tolerance import Tolerance
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo
from drnn_runtimes.bundle.golden import Noise, is_whole, largest_noises, noise_arrays, with_noise
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.session import Session
from drnn_runtimes.streaming.stream import fingerprint

FORMAT = "drnn-deploy-repro/1"


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """A failure that can be run again.

    Attributes:
        model: The fingerprint of the network.
        runtime: The name of the runtime.
        graph: The name of the graph.
        size: The size of the batches; None for the graph's own.
        tolerance: Which errors pass.
        case: The inputs (N, T, ...), float64 outputs and noise; see `drnn_runtimes.bundle.GoldenCase`.
        observed: What the runtime gave, in the shape of the outputs of `drnn_deploy.parity.inference.answered_case`.
        limit: The largest error that passes.
    """

    model: str
    runtime: str
    graph: str
    size: int | None
    tolerance: Tolerance
    case: GoldenCase
    observed: NDArray[np.generic]
    limit: float

    @checked_arguments
    def save(self, path: Path | str) -> None:
        """Write the reproduction to `path`, whole or not at all.

        Raises:
            InputError: The file cannot be written.
        """
        about = {
            "format": FORMAT,
            **{name: getattr(self, name) for name in ("model", "runtime", "graph", "size", "limit")},
            "tolerance": dataclasses.asdict(self.tolerance),
            **{name: getattr(self.case, name) for name in ("name", "stream", "source")},
            **largest_noises(self.case),
        }
        arrays = {"inputs": self.case.inputs, "expected": self.case.outputs, "observed": self.observed}
        arrays |= noise_arrays(self.case)
        write_npz(Path(path), about, arrays)

    @classmethod
    @checked_arguments
    def load(cls, path: Path | str) -> Reproduction:
        """Read the file of `save`.

        Raises:
            InputError: It is not such a file.
        """
        fix = "Write it again: drnn-parity BUNDLE --repro DIR"
        with reading_npz(Path(path), f"{path} cannot be read as a reproduction", fix, format=FORMAT) as (about, arrays):
            narrow: dict[str, Noise] = {str(name): float(value) for name, value in about["narrow_noise"].items()}
            reproduction = cls(
                model=str(about["model"]),
                runtime=str(about["runtime"]),
                graph=str(about["graph"]),
                size=None if about["size"] is None else int(about["size"]),
                tolerance=Tolerance(**about["tolerance"]),
                case=GoldenCase(
                    name=str(about["name"]),
                    inputs=arrays["inputs"],
                    outputs=arrays["expected"],
                    noise=float(about["noise"]),
                    source=str(about["source"]),
                    stream=bool(about["stream"]),
                    narrow_noise=narrow,
                ),
                observed=arrays["observed"],
                limit=float(about["limit"]),
            )
            reproduction = dataclasses.replace(reproduction, case=with_noise(reproduction.case, arrays))
            reproduction._check()
            return reproduction

    def run(self, bundle: Bundle, runtime: Runtime | None = None) -> CaseResult:
        """Run the case again and judge it as parity does.

        Args:
            bundle: The bundle that was checked.
            runtime: The runtime. Default: the one that failed.

        Returns:
            The verdict.

        Raises:
            InputError: The bundle is of another network, or lacks the graph.
            RuntimeUnavailableError: The runtime cannot run here.
            EngineError: The engine does not fit this machine.
        """
        from drnn_runtimes.registry import require

        if fingerprint(bundle) != self.model:
            raise InputError(f"{bundle.folder} is not of the network that failed", "Name the bundle that was checked.")
        graph = bundle.graph(self.graph)
        if self.size is not None and graph.batch is None and self.size > graph.largest_batch:
            what = f"it is of batches of {self.size}, and {graph.name} takes at most {graph.largest_batch}"
            raise InputError(what, "Name the bundle that was checked.")
        with (runtime or require([self.runtime])[0]).load(bundle, graph) as session:
            return _run(session, bundle, graph, self.case, self.size, self.tolerance)[0]

    def _check(self) -> None:
        if not is_whole(self.case) or self.case.inputs.ndim not in (2, 3):
            raise ValueError("its arrays are misshapen or not finite, or its noise makes no sense")
        if not 0 <= self.limit < float("inf") or (self.size is not None and self.size < 1):
            raise ValueError("its numbers make no sense")


def minimize(
    runtime: Runtime, bundle: Bundle, graph: GraphInfo, case: GoldenCase, size: int | None, tolerance: Tolerance
) -> Reproduction | None:
    """Find the least of a failing case that still fails: one sequence, and of a stream the part up to the first error.

    Args:
        runtime: The runtime that failed.
        bundle: The open bundle that holds the graph.
        graph: One of the bundle's graphs.
        case: The golden case that failed.
        size: The size of a batch for a graph that takes any.
        tolerance: Which errors pass.

    Returns:
        What still fails; None where the case does not fail again.

    Raises:
        RuntimeUnavailableError: The runtime cannot run here.
        InputError: The graph is damaged.
        EngineError: The engine does not fit this machine.
    """
    with runtime.load(bundle, graph) as session:
        for smaller in _smaller(session, bundle, graph, case.judged_as(graph.precision), size, tolerance):
            result, observed = _run(session, bundle, graph, smaller, size, tolerance)
            if not result.passed:
                limit, model = result.limit, fingerprint(bundle)
                name = graph.name
                return Reproduction(model, runtime.name, name, size, tolerance, smaller, observed, limit)
    return None


def _smaller(
    session: Session, bundle: Bundle, graph: GraphInfo, case: GoldenCase, size: int | None, tolerance: Tolerance
) -> Iterator[GoldenCase]:
    """Ever more of the case, up to all of it. One sequence alone may be right where a graph mixes up its batch."""
    answered = answered_case(bundle, graph, case)
    result, observed = _run(session, bundle, graph, case, size, tolerance)
    every = np.arange(len(case.inputs))
    worst = every[:1]
    if observed.shape == answered.outputs.shape:
        error = np.abs(observed.astype(np.float64) - answered.outputs)
        error[~np.isfinite(error)] = np.inf
        worst = every[error.reshape(len(every), -1).max(axis=1).argmax()][None]
    lengths = [case.inputs.shape[1]]
    if graph.states and result.first_bad_step is not None:
        answers = bundle.spec.head.output_steps(graph.steps)
        lengths.insert(0, min(lengths[0], (result.first_bad_step // answers + 1) * graph.steps))
    for sequences in (worst, every):
        for length in lengths:
            inputs = np.ascontiguousarray(case.inputs[sequences, :length])
            part = dataclasses.replace(case, inputs=inputs, outputs=case.outputs[sequences], targets=None)
            yield part.at_steps(slice(length)) if graph.states else part


def _run(
    session: Session, bundle: Bundle, graph: GraphInfo, case: GoldenCase, size: int | None, tolerance: Tolerance
) -> tuple[CaseResult, NDArray[np.generic]]:
    return check_batches(session, bundle, graph, case, graph.batch or size, tolerance, apart=True)
