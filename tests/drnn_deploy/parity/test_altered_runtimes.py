"""Runtimes that are right on most of what they are given, but not in a few rows, sizes of a batch, chunks or calls.

ONNX Runtime stands for them, with what goes in or comes out altered. What no graph can say is seen all the same.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drnn_deploy import ExportOptions, export
from drnn_deploy.parity.check import check_parity
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.runtime import StreamingRuntime
from drnn_runtimes.session import Arrays, CopyingSession, Session
from drnn_runtimes.streaming.buffers import Lines, TakesBlocks
from tests.networks import random_weights
from tests.nightly import some_by_day

Array = NDArray[Any]
HERE = find_runtime("onnxruntime-cpu")
Run = Callable[[Mapping[str, Array]], Arrays]
LITTLE = np.float32(1.001)


@dataclasses.dataclass
class Altered(StreamingRuntime):
    """ONNX Runtime whose runs a function takes care of."""

    alter: Callable[[Run], Run]
    name: str = "altered"
    reads_graph: bool = True
    runs_any_graph: bool = False
    is_sampled: bool = False
    is_reference: bool = False

    def availability(self) -> Any:
        return HERE.availability()

    def unsupported(self, bundle: Bundle, graph: GraphInfo) -> str:
        return HERE.unsupported(bundle, graph)

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Session]:
        with HERE.load(bundle, graph) as session:
            altered = CopyingSession()
            altered._graph = graph
            altered._compute = self.alter(session.run)  # type: ignore[method-assign]
            yield altered


def rows(change: Callable[[Array, int], Array], name: str = "output") -> Callable[[Run], Run]:
    """Alter an output, knowing how many rows it has."""

    def alter(run: Run) -> Run:
        def altered(inputs: Mapping[str, Array]) -> Arrays:
            outputs = run(inputs)
            return {**outputs, name: change(outputs[name].copy(), len(outputs[name]))}

        return altered

    return alter


def scaled(row: int) -> Callable[[Run], Run]:
    def change(output: Array, count: int) -> Array:
        output[row : row + 1] *= LITTLE
        return output

    return rows(change)


def at_sizes(sizes: Callable[[int], bool]) -> Callable[[Run], Run]:
    return rows(lambda output, count: output * LITTLE if sizes(count) else output)


def reordered(order: Callable[[int], list[int]], name: str = "output") -> Callable[[Run], Run]:
    return rows(lambda output, count: output[order(count)], name)


def inputs_of(order: Callable[[int], list[int]]) -> Callable[[Run], Run]:
    return lambda run: lambda inputs: run({**inputs, "input": inputs["input"][order(len(inputs["input"]))]})


def swap(one: int, other: int) -> Callable[[int], list[int]]:
    def order(count: int) -> list[int]:
        places = list(range(count))
        if count > max(one, other):
            places[one], places[other] = other, one
        return places

    return order


def one_run_late(run: Run) -> Run:
    """What the run before gave."""
    kept: list[Arrays] = []

    def altered(inputs: Mapping[str, Array]) -> Arrays:
        kept.append({name: value.copy() for name, value in run(inputs).items()})
        before = kept[-2] if len(kept) > 1 and kept[-2]["output"].shape == kept[-1]["output"].shape else kept[-1]
        return {**kept[-1], "output": before["output"]}

    return altered


def same_array(run: Run) -> Run:
    """Every run writes to the array that the runs before gave."""
    kept: dict[tuple[str, tuple[int, ...]], Array] = {}

    def altered(inputs: Mapping[str, Array]) -> Arrays:
        outputs = run(inputs)
        for name, value in outputs.items():
            kept.setdefault((name, value.shape), value.copy())[...] = value
        return {name: kept[name, value.shape] for name, value in outputs.items()}

    return altered


def right_at_first(run: Run) -> Run:
    """The first run is right, the others are off by a thousandth."""
    seen: list[int] = []

    def altered(inputs: Mapping[str, Array]) -> Arrays:
        seen.append(1)
        outputs = run(inputs)
        return outputs if len(seen) == 1 else {**outputs, "output": outputs["output"] * LITTLE}

    return altered


def states(change: Callable[[str, Array], Array]) -> Callable[[Run], Run]:
    """Alter what goes in as states."""

    def alter(run: Run) -> Run:
        return lambda inputs: run(
            {name: change(name, value) if name.startswith("state_") else value for name, value in inputs.items()}
        )

    return alter


def stale_states(run: Run) -> Run:
    """A run reads the states that the run before it read."""
    kept: list[dict[str, Array]] = []

    def altered(inputs: Mapping[str, Array]) -> Arrays:
        kept.append({name: value.copy() for name, value in inputs.items() if name.startswith("state_")})
        fits = len(kept) > 1 and all(kept[-2][name].shape == value.shape for name, value in kept[-1].items())
        return run({**inputs, **(kept[-2] if fits else kept[-1])})

    return altered


def chunk_reversed(run: Run) -> Run:
    return lambda inputs: run({**inputs, "input": np.ascontiguousarray(inputs["input"][:, ::-1])})


class TwoWays(Lines, TakesBlocks):
    """Right where many steps are pushed together, and wrong where they come one at a time."""

    def __init__(self, late: int, session: Session, bundle: Bundle, graph: GraphInfo, samples: Array) -> None:
        super().__init__(session, bundle.spec, graph, samples)
        self._samples, self._calls_left = samples, late

    def run_block(self, samples: Array) -> Array:
        answers = np.zeros((*samples.shape[:2], self._output.shape[-1]), np.float32)
        for step in range(samples.shape[1]):
            self._samples[:] = samples[:, step : step + 1]
            answers[:, step : step + 1] = super().run().reshape(len(samples), 1, -1)
        if samples.shape[1] == 1:
            self._calls_left -= 1
            answers += np.float32(0.5) * (self._calls_left < 0)
        return answers


@dataclasses.dataclass
class ByTheStep(Altered):
    """ONNX Runtime whose streams take blocks: right, and wrong after so many steps that come alone."""

    late: int = 1

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Session]:
        with HERE.load(bundle, graph) as session:
            session.stream = lambda samples: TwoWays(self.late, session, bundle, graph, samples)  # type: ignore[attr-defined]
            yield session


class WrongWhenBound(Altered):
    """ONNX Runtime whose bound calls are off."""

    @contextlib.contextmanager
    def load(self, bundle: Bundle, graph: GraphInfo) -> Iterator[Session]:
        with super().load(bundle, graph) as session:
            bind = session.bind

            def bound(inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
                call, output = bind(inputs, outputs), outputs["output"]
                return lambda: (call(), output.__iadd__(np.float32(0.5)))[0]

            session.bind = bound  # type: ignore[method-assign]
            yield session


ALTERED: dict[str, tuple[str, Callable[[Run], Run]]] = {
    "row 16 is a thousandth larger": ("any", scaled(16)),
    "row 4 is a thousandth larger": ("any", scaled(4)),
    "rows from 4 on are zero": ("any", rows(lambda o, n: o * (np.arange(n) < 4).astype(np.float32)[:, None])),
    "one sequence alone": ("any", at_sizes(lambda count: count == 1)),
    "batches over the usual size": ("any", at_sizes(lambda count: count > 4)),
    "sizes between the usual and the largest": ("any", at_sizes(lambda count: 4 < count < 17)),
    "sizes between the smallest and the usual": ("any", at_sizes(lambda count: 1 < count < 4)),
    "the largest batch": ("any", at_sizes(lambda count: count == 17)),
    "odd batches": ("any", at_sizes(lambda count: count > 1 and count % 2 == 1)),
    "rows 0 and 4 are swapped": ("any", reordered(swap(0, 4))),
    "rows 3 and 15 are swapped": ("any", reordered(swap(3, 15))),
    "inputs of rows 1 and 5 are swapped": ("any", inputs_of(swap(1, 5))),
    "inputs of rows 0 and 16 are swapped": ("any", inputs_of(swap(0, 16))),
    "the last row repeats the one before": ("any", reordered(lambda n: [*range(n - 1), max(0, n - 2)])),
    "rows go round by one": ("any", reordered(lambda n: [*range(1, n), 0])),
    "a run gives what the one before gave": ("seven", one_run_late),
    "all runs give the same array": ("seven", same_array),
    "only the first run is right": ("seven", right_at_first),
    "a row too many": ("seven", reordered(lambda n: [*range(n), 0])),
    "a row too few": ("seven", reordered(lambda n: [*range(n - 1)])),
    "row 8 of a free batch with state": ("chunk", scaled(8)),
    "states of rows 0 and 4 are swapped": ("chunk", reordered(swap(0, 4), "next_state_l1_h")),
    "the states of the first row for all": ("chunk", states(lambda _, value: np.repeat(value[:1], len(value), axis=0))),
    "states are lost": ("chunk", states(lambda _, value: 0 * value)),
    "one state is lost": ("chunk", states(lambda name, value: 0 * value if name == "state_l2_h" else value)),
    "states of one run before": ("chunk", stale_states),
    "steps of a chunk in the reverse order": ("chunk", chunk_reversed),
    "outputs of the chunk before": ("chunk", one_run_late),
    "states to half a digit": ("chunk", states(lambda _, value: value.astype(np.float16).astype(np.float32))),
}  # fmt: skip
BASES = {
    "any": (Head("last", 3), {"batch": None, "profile": (1, 4, 17), "length": 12}),
    "seven": (Head("last", 3), {"batch": 7, "length": 12}),
    "chunk": (Head("sequence", 3), {"batch": None, "profile": (1, 3, 9), "forms": ("chunk",), "chunk": 4}),
    "step": (Head("last", 3), {"batch": 1, "forms": ("step",)}),
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """A base's bundle by name, exported once."""
    folder: Path = tmp_path_factory.mktemp("bases")
    known: dict[str, Bundle] = {}

    def make(name: str) -> Bundle:
        if name not in known:
            head, words = BASES[name]
            spec = ModelSpec("gru", (4, 5, 6), (1, 2, 4), Continuous(2), head)
            options = ExportOptions(**{"engines": (), "runtimes": (HERE.name,), **words})  # type: ignore[arg-type]
            known[name] = export(Checkpoint(spec, random_weights(spec, 3)), folder / name, options).bundle
        return known[name]

    return make


@pytest.mark.parametrize("name", some_by_day(ALTERED, 3))
def test_altered_runtime_fails(name: str, bundles: Callable[[str], Bundle]) -> None:
    base, alter = ALTERED[name]
    report = check_parity(bundles(base), [Altered(alter)])
    assert [row.error for row in report.rows] == [""]
    assert report.exit_code == 1


@pytest.mark.parametrize("late", [1, 4, 10**9])
def test_steps_that_are_pushed_one_at_a_time_are_compared_too(late: int, bundles: Callable[[str], Bundle]) -> None:
    report = check_parity(bundles("step"), [ByTheStep(lambda run: run, late=late)])
    assert report.exit_code == (0 if late == 10**9 else 1)
    if report.exit_code:
        (failed,) = (case for case in report.rows[0].cases if case.case == "stream" and case.verdict == "failed")
        assert "pushed a few steps at a time" in failed.where


@pytest.mark.parametrize("base", ["any", "seven"])
def test_bound_call_is_compared_too(base: str, bundles: Callable[[str], Bundle]) -> None:
    (row,) = check_parity(bundles(base), [WrongWhenBound(lambda run: run)]).rows
    failed = [case for case in row.cases if case.verdict == "failed"]
    assert [case.case for case in failed] == ["normal"] and "of a bound call" in failed[0].where


@pytest.mark.parametrize("base", BASES)
def test_runtime_that_nothing_is_altered_of_passes(base: str, bundles: Callable[[str], Bundle]) -> None:
    report = check_parity(bundles(base), [Altered(lambda run: run)])
    assert report.exit_code == 0, report
