"""What a parity check found, and a task's metrics through each runtime, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

from drnn_core.errors import ParityError, RuntimeUnavailableError
from drnn_deploy.parity.tolerance import DEFAULT, Tolerance
from drnn_runtimes.reference.runtime import ReferenceRuntime

Verdict = Literal["passed", "failed", "not compared"]


def all_passed(cases: Sequence[CaseResult]) -> bool:
    """Whether no case failed, and at least one passed that tells something."""
    return any(case.passed and case.tells for case in cases) and not any(case.verdict == "failed" for case in cases)


@dataclasses.dataclass(frozen=True)
class CaseResult:
    """One golden case through one runtime. An error is the largest of what is compared, None where one is not finite.

    What is compared of a case are the outputs whose limit is small enough to tell a wrong graph from a right one
    (`drnn_deploy.parity.compare`). Where that is none, figures are those of all outputs.

    Attributes:
        case: The name of the golden case.
        absolute: The largest |output - reference|.
        relative: The same as a share of the largest |output| of the reference.
        in_noise: The same in units of the noise.
        noise: What the precision's own rounding does to the outputs, at most.
        limit: The largest absolute error that passes anywhere.
        passed: Whether something was compared and all of it is within its limit. Where that is a part, some of it must
            tell something.
        first_bad_step: The first output step past its limit, or with an output that is not finite.
        growth: The largest error of up to 16 output steps, evenly spaced from first to last.
        agreement: The share of predictions (largest output) that are the reference's.
        accuracy: The share of predictions that are right, where the true answers are known.
        compared: The share of the outputs that is compared, 0 to 1.
        first_uncompared_step: The first output step of which not all is compared; None for none.
        horizon: The first time step of the input after which float32's rounding drowns an output; None for none.
        limits: The largest error that passes at the steps of `growth`.
        worst: The error that is nearest to its own output's limit, or furthest past it, and that limit; None where an
            error is not finite.
        tells: Whether a runtime that takes no notice of its inputs would fail; else the case alone lets no row pass.
        where: What the error is of, where that is not the output of the case's own sequences: "row 5 of a batch of 7",
            "next_state_l1_h"; "" otherwise.
    """

    case: str
    absolute: float | None
    relative: float | None
    in_noise: float | None
    noise: float
    limit: float
    passed: bool
    first_bad_step: int | None
    growth: tuple[float | None, ...]
    agreement: float
    accuracy: float | None
    compared: float = 1.0
    first_uncompared_step: int | None = None
    horizon: int | None = None
    limits: tuple[float, ...] = ()
    where: str = ""
    worst: tuple[float, float] | None = None
    tells: bool = True

    @property
    def off(self) -> str:
        """How far off it is, beside what passes for that output: each has a limit of its own."""
        if self.worst is None:
            return "a missing, misshapen or not finite output"
        error, limit = self.worst
        return f"error {error:.1e} where {limit:.1e} passes"

    @property
    def verdict(self) -> Verdict:
        """Whether it passed, failed, or was not compared: rounding alone may do to it what a mistake does."""
        if self.passed:
            return "passed"
        return "failed" if self.first_bad_step is not None else "not compared"


@dataclasses.dataclass(frozen=True)
class ParityRow:
    """One runtime on one graph.

    Attributes:
        runtime: The name of the runtime.
        graph: What tables call the graph.
        precision: The precision of the graph; "fp64" for the reference.
        passed: Whether no case failed, and at least one passed that tells something.
        cases: The results of the golden cases.
        milliseconds: The median time of a call, divided by the sequences of its batch.
        error: What went wrong, where the runtime did not get as far as numbers.
        exit_code: The exit code of that error.
        caveat: What a passed row does not show; see `drnn_runtimes.runtime.Runtime`.
        steps: The time steps of the graph.
        batch: The batch of the graph; None where it takes any.
        pruned: Whether the graph computes only what reaches the output.
        seconds: The time from loading the graph to the end of the last case.
    """

    runtime: str
    graph: str
    precision: str
    passed: bool
    cases: tuple[CaseResult, ...]
    milliseconds: float | None
    error: str = ""  # what went wrong, where it did not get as far as numbers
    exit_code: int = 0
    caveat: str = ""  # what a passed row does not show, see `drnn_runtimes.runtime.Runtime`
    steps: int | None = None
    batch: int | None = None
    pruned: bool = False
    seconds: float | None = None

    @property
    def is_reference(self) -> bool:
        """Whether it is a row of the reference, which is compared with itself."""
        return self.runtime == ReferenceRuntime.name

    @property
    def is_whole(self) -> bool:
        """Whether a call of the graph takes a whole sequence, and not a piece of a stream."""
        return self.graph.startswith("sequence")

    @property
    def worst(self) -> CaseResult | None:
        """The case with the largest error in units of noise, of those that were compared if any was."""
        compared = [case for case in self.cases if case.verdict != "not compared"]
        return max(
            compared or self.cases, key=lambda c: float("inf") if c.in_noise is None else c.in_noise, default=None
        )

    @property
    def verdict(self) -> Verdict:
        """Whether it passed, failed, or could not be compared at all, which is no pass."""
        if self.passed:
            return "passed"
        uncompared = bool(self.cases) and not any(case.verdict == "failed" for case in self.cases)
        return "not compared" if uncompared and not self.error else "failed"


@dataclasses.dataclass(frozen=True)
class Missing:
    """A runtime that took no part, why, and what to do about it. Without a `graph` it could run none."""

    runtime: str
    graph: str
    reason: str
    fix: str


@dataclasses.dataclass(frozen=True)
class FileResult:
    """A file of a bundle beside what it must hold: the graph that the weights make, or what float64 gives.

    Attributes:
        file: Its name in the bundle.
        passed: Whether it holds that.
        findings: Sentences on what differs.
        note: What was left out, and why; "" for nothing.
        exit_code: The exit code where it did not pass: 1, or that of a file that cannot be read.
    """

    file: str
    passed: bool
    findings: tuple[str, ...] = ()
    note: str = ""
    exit_code: int = ParityError.exit_code


@dataclasses.dataclass(frozen=True)
class Measured:
    """One metric of a task.

    Attributes:
        reference: Its value for the outputs of the float64 reference.
        value: Its value for the outputs of a runtime; None where that is not finite.
    """

    reference: float
    value: float | None


@dataclasses.dataclass(frozen=True)
class TaskResult:
    """A task's metrics through one runtime on one graph.

    Attributes:
        runtime: The name of the runtime.
        graph: What tables call the graph.
        task: The name of the task.
        source: Where the sequences come from.
        sequences: How many there are.
        metrics: accuracy (0 to 1), cross_entropy (nats), and the metrics that the task adds.
        changed_predictions: The outputs whose largest class is not the reference's.
    """

    runtime: str
    graph: str
    task: str
    source: str
    sequences: int
    metrics: dict[str, Measured]
    changed_predictions: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class ParityReport:
    """Rows that ran and runtimes that did not.

    Attributes:
        rows: A row for each runtime and graph that ran.
        missing: The runtimes and graphs that did not run.
        tolerance: Which errors passed.
        network: The cell and size of the network.
        tasks: The task's metrics through each runtime and graph.
        notes: Sentences on what was left out, and why.
        files: The bundle's files beside what the weights make.
    """

    rows: tuple[ParityRow, ...]
    missing: tuple[Missing, ...]
    tolerance: Tolerance = DEFAULT
    network: str = ""
    tasks: tuple[TaskResult, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[FileResult, ...] = ()

    @property
    def compared(self) -> tuple[ParityRow, ...]:
        """The rows of every runtime but the reference, which is what they are compared with."""
        return tuple(row for row in self.rows if not row.is_reference)

    @property
    def _judged(self) -> tuple[ParityRow | FileResult, ...]:
        return (*self.rows, *self.files)

    @property
    def passed(self) -> bool:
        """Every row and file passed, and there is at least one row besides the reference's."""
        return all(entry.passed for entry in self._judged) and bool(self.compared)

    @property
    def exit_code(self) -> int:
        """0 fine, 1 parity failed, 3 nothing to compare, else the code of what stopped a runtime."""
        failed = [entry.exit_code for entry in self._judged if not entry.passed]
        if not failed:
            return 0 if self.passed else RuntimeUnavailableError.exit_code
        return ParityError.exit_code if min(failed) <= ParityError.exit_code else max(failed)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        report = {"passed": self.passed, **dataclasses.asdict(self)}
        for row, entry in zip(self.rows, report["rows"], strict=True):
            entry["verdict"] = row.verdict
            for case, shown in zip(row.cases, entry["cases"], strict=True):
                shown["verdict"] = case.verdict
        return report
