"""A task's metrics through each runtime, beside the same metrics of the float64 reference.

The sequences are the examples that a bundle carries, whose float64 outputs are known, and a part of the task's test
split where the data folder has it, whose outputs are computed here, once for all runtimes and graphs. Needs
no torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.types import Precision
from drnn_deploy.parity.compare import with_answer
from drnn_deploy.parity.results import Measured, TaskResult
from drnn_deploy.tasks import IGNORED, Batch, Score, Task, make_task, task_of
from drnn_deploy.tasks.scoring import limited
from drnn_runtimes.bundle import Bundle, GoldenCase
from drnn_runtimes.reference.noise import Answer, answer

EXAMPLES = 20  # sequences where nobody said how many, as many as a checkpoint carries
_SEQUENCES_AT_ONCE = 500  # through the reference, which keeps every layer's outputs of all steps


@dataclasses.dataclass(frozen=True)
class TaskCase:
    """Sequences of a task with the reference's outputs.

    Attributes:
        task: The task that they are of.
        case: The sequences as a golden case.
        batch: The sequences with their true answers.
        carried: Whether they are a golden case of the bundle.
    """

    task: Task
    case: GoldenCase
    batch: Batch
    carried: bool

    def metrics(self, outputs: NDArray[np.generic]) -> dict[str, float]:
        """The task's metrics of outputs (N, classes) or (N, k, classes)."""
        score = Score()
        score.add(outputs, self.batch)
        return self.task.metrics(score)

    def measure(self, runtime: str, graph: str, outputs: NDArray[np.generic]) -> TaskResult | None:
        """Measure the task's metrics of a runtime's outputs.

        Args:
            runtime: The name of the runtime.
            graph: What tables call the graph.
            outputs: Its outputs, (N, classes) or (N, k, classes).

        Returns:
            The metrics beside the reference's; None where the outputs do not have the reference's shape.
        """
        if outputs.shape != self.case.outputs.shape:
            return None
        with np.errstate(invalid="ignore", over="ignore"):
            measured = self.metrics(outputs)
        metrics = {
            name: Measured(value, measured[name] if np.isfinite(measured[name]) else None)
            for name, value in self.metrics(self.case.outputs).items()
        }
        changed = int(np.count_nonzero(outputs.argmax(axis=-1) != self.case.outputs.argmax(axis=-1)))
        return TaskResult(runtime, graph, self.task.name, self.case.source, len(outputs), metrics, changed)


def task_cases(
    bundle: Bundle, known: Sequence[GoldenCase], named: str | None = None, sequences: int | None = None
) -> tuple[list[TaskCase], list[str]]:
    """Find the sequences to measure a bundle's task on.

    Args:
        bundle: An open bundle.
        known: What is right for its graphs, on its task's examples among others.
        named: The task, in place of the one that the bundle says it is for.
        sequences: How many of the test split to take beside the examples that the bundle carries. None takes `EXAMPLES`
            of them where it carries none.

    Returns:
        The sequences, and sentences on what cannot be measured and why.

    Raises:
        InputError: There is no task of the name, or the network does not fit it.
    """
    if named is None and "name" not in bundle.task:
        return [], ["no task metrics: the network does not say which task it is for"]
    task = _find(bundle, named)
    if isinstance(task, str):
        return [], [f"no task metrics: {task}"]
    length = next((graph.steps for graph in bundle.graphs if graph.form == "sequence"), None)
    if length is None:
        return [], [
            f"no metrics of task {task.name}: they are of whole sequences, and no graph of form sequence is here"
        ]
    cases = list(_carried(known, task)) if task.name == bundle.task.get("name") else []
    if cases and sequences is None:
        return cases, []
    try:
        if task.length != length:
            raise InputError(f"its sequences have {task.length} steps, those of the graphs {length}")
        cases.append(_drawn(bundle, task, sequences or EXAMPLES))
    except (InputError, ModuleNotFoundError) as error:  # of data that is missing, or of a package that reads it
        reason = f"{error.message}. {error.fix}".rstrip() if isinstance(error, InputError) else str(error)
        return cases, [f"no metrics of task {task.name} on its test split: {' '.join(reason.split())}"]
    return cases, []


def _find(bundle: Bundle, named: str | None) -> Task | str:
    """The task, or why the bundle's own cannot be had."""
    if named is not None and named != bundle.task.get("name"):
        make_task(named, {})
        return task_of({"name": named}, bundle.spec, f"--task {named}")
    try:
        return task_of(bundle.task, bundle.spec, str(bundle.folder.name))
    except InputError as error:
        if named is not None:
            raise
        return error.message


def _carried(known: Sequence[GoldenCase], task: Task) -> Iterator[TaskCase]:
    """The cases with true answers, where those fit the task."""
    for case in known:
        targets = case.targets
        if targets is None or case.stream or targets.shape != case.outputs.shape[:-1]:
            continue
        counted = targets[targets != IGNORED]
        if counted.size and 0 <= counted.min() <= counted.max() < case.outputs.shape[-1]:
            yield TaskCase(task, case, Batch(case.inputs, targets), carried=True)


def _drawn(bundle: Bundle, task: Task, count: int) -> TaskCase:
    """The first `count` sequences of the test split, with what float64 makes of them."""
    parts = list(limited(task.batches("test", min(count, _SEQUENCES_AT_ONCE)), count))
    groups = [part.groups for part in parts if part.groups is not None]
    inputs, targets = np.concatenate([p.inputs for p in parts]), np.concatenate([p.targets for p in parts])
    batch = Batch(inputs, targets, np.concatenate(groups) if groups else None)
    narrow = sorted({graph.precision for graph in bundle.graphs} - {"fp32"})
    source = f"{task.name}, the first {len(inputs):,} sequences of the test split"
    return TaskCase(
        task, _reference_case(bundle, [part.inputs for part in parts], narrow, source), batch, carried=False
    )


def _reference_case(
    bundle: Bundle, pieces: Sequence[NDArray[np.generic]], narrow: Sequence[Precision], source: str
) -> GoldenCase:
    """A case like those of `drnn_deploy.parity.golden`, with the noise of the most sensitive sequence."""
    answers = [answer(bundle.spec, bundle.weights, inputs, narrow) for inputs in pieces]

    def largest(values: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.max([*values], axis=0)  # type: ignore[no-any-return]

    every = Answer(
        outputs=np.concatenate([piece.outputs for piece in answers]),
        magnitude=max(piece.magnitude for piece in answers),
        noises={name: largest(piece.noises[name] for piece in answers) for name in answers[0].noises},
        signal=largest(piece.signal for piece in answers),
        every_noise=largest(piece.every_noise for piece in answers),
        every_signal=largest(piece.every_signal for piece in answers),
        narrow_outputs={name: np.concatenate([piece.narrow_outputs[name] for piece in answers]) for name in narrow},
    )
    return with_answer(GoldenCase("test split", np.concatenate(pieces), every.outputs, 0.0, source=source), every)
