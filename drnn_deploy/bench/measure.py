"""Contenders in turn: each in a process of its own, a burst of calls at a time, A B C A B C and so on.

A machine that drifts does so for all of them alike. Processes keep their threads, their memory and what they do to the
processor's modes apart; all but one wait for a line on a pipe.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drnn_core.steps import Notify
from drnn_core.worker_process import Child, ChildError
from drnn_deploy.bench.answers import answer_for, batch_inputs, judge_outputs
from drnn_deploy.bench.contender import Contender
from drnn_deploy.bench.gauges import IdleLoop, MatrixProduct
from drnn_deploy.bench.machine import thread_variables
from drnn_deploy.bench.results import Gauges, Measured, Row, Status
from drnn_deploy.bench.settings import Setting
from drnn_deploy.bench.statistics import Timing
from drnn_deploy.bench.work import work_of
from drnn_deploy.bench.worker import Job
from drnn_runtimes.bundle import Bundle, GoldenCase, GraphInfo

WORKER = "drnn_deploy.bench.worker"
_TO_FINISH = 10.0  # seconds to send what was measured
_FEWEST = 3  # rounds of a contender that takes longer for a run than others for all of theirs


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long is measured.

    Attributes:
        seconds: Of each contender.
        rounds: Bursts of each contender in this time.
        limit: Seconds that a contender may take for a row, from its start to its last burst.
    """

    seconds: float = 3.0
    rounds: int = 20
    limit: float = 60.0


@dataclasses.dataclass(frozen=True)
class Task:
    """One setting of a bundle, for all contenders alike.

    Attributes:
        bundle: With graphs of this setting only.
        setting: What is run.
        case: Inputs, and what is right for them.
        folder: For files in between.
        threads: Threads of each contender.
        effort: How long is measured.
    """

    bundle: Bundle
    setting: Setting
    case: GoldenCase
    folder: Path
    threads: int
    effort: Effort

    @property
    def inputs(self) -> Path:
        """The file of the inputs."""
        return self.folder / "inputs.npy"


def measure_row(
    bundle: Bundle,
    setting: Setting,
    contenders: Sequence[Contender],
    folder: Path,
    *,
    threads: int = 1,
    effort: Effort | None = None,
    notify: Notify = lambda _: None,
) -> Row:
    """Check and time contenders on one setting.

    Args:
        bundle: With graphs of this setting only.
        setting: What is run.
        contenders: Who takes part; each is usable here.
        folder: For files in between.
        threads: Threads of each contender.
        effort: How long is measured.
        notify: Gets a line on what is done at the moment.
    """
    notify(f"{setting.name}: computing the float64 reference")
    case = answer_for(bundle.spec, bundle.weights, bundle.graphs)
    task = Task(bundle, setting, case, folder, threads, effort or Effort())
    np.save(task.inputs, batch_inputs(case, setting.batch))
    with contextlib.ExitStack() as stack:
        runners: list[Runner] = []
        for contender, graph in pairs(bundle, contenders):
            notify(f"{setting.name}: getting {contender.name} ready")
            runner = stack.enter_context(contextlib.closing(Runner(task, contender, graph, str(len(runners)))))
            runner.check()
            runners.append(runner)
        right = [runner for runner in runners if runner.running]
        beside: list[Runner] = []
        if right:
            fastest = min(right, key=lambda runner: runner.seconds)
            others = [(gauge, bundle.graphs[0], gauge.name) for gauge in (IdleLoop(), MatrixProduct())]
            for who, graph, name in ((fastest.contender, fastest.graph, fastest.name), *others):
                beside.append(stack.enter_context(contextlib.closing(Runner(task, who, graph, name))))
                beside[-1].open()
        notify(f"{setting.name}: timing {len(right)} contenders")
        times = in_turn([*right, *beside], task.effort)
        again, idle, product = times[len(right) :] or (None, None, None)
    gauges = Gauges(idle, product, again, fastest.measured.name) if idle and product else None
    work = work_of(bundle.spec, setting.form, setting.steps, setting.batch)
    return Row(setting, work, tuple(runner.measured for runner in runners), gauges)


def pairs(bundle: Bundle, contenders: Sequence[Contender]) -> Iterator[tuple[Contender, GraphInfo]]:
    """Each contender with each graph that makes a difference to it.

    Args:
        bundle: With graphs of one setting.
        contenders: Who takes part.
    """
    for contender in contenders:
        if contender.reads_graph:
            yield from ((contender, graph) for graph in bundle.graphs)
        else:
            fitting = [graph for graph in bundle.graphs if not contender.unsupported(bundle, graph)]
            yield contender, (fitting or list(bundle.graphs))[0]


class Runner:
    """The child of one contender on one graph.

    Attributes:
        contender: Who.
        graph: On what.
        measured: What came of it so far.
        rounds: In how many rounds it takes part.
        seconds: Of a run, before it was timed.
        name: Of its files. Two runners of one contender that have one name share what it has made to run.
    """

    def __init__(self, task: Task, contender: Contender, graph: GraphInfo, name: str) -> None:
        self.contender, self.graph, self.rounds = contender, graph, task.effort.rounds
        self._task, self.name, self.seconds = task, name, 0.0
        self._left = task.effort.limit  # seconds, of those in which others wait for it
        self.measured = Measured(contender.name, _graph_name(contender, graph), "ok", delay=graph.delay)
        if contender.has_threads:
            self.measured = dataclasses.replace(self.measured, threads=task.threads)
        self._child: Child | None = None
        if reason := contender.unsupported(task.bundle, graph):
            self.end("refused", reason)

    @property
    def running(self) -> bool:
        """Whether there is something to time."""
        return self._child is not None

    def open(self) -> None:
        """Start the child and let it run the inputs once."""
        if self.measured.status != "ok":
            return
        folder = self._task.folder / self.name
        folder.mkdir(exist_ok=True)
        variables = thread_variables(self._task.threads) | {"DRNN_CACHE": str(folder)}
        variables |= {"TORCHINDUCTOR_CACHE_DIR": str(self._task.folder / f"{self.name}-inductor")}
        self._child = Child(WORKER, os.environ | variables)
        job = Job(
            contender=self.contender.name,
            bundle=str(self._task.bundle.folder),
            graph=self.graph.file,
            batch=self._task.setting.batch,
            threads=self._task.threads,
            folder=str(folder),
            inputs=str(self._task.inputs),
            outputs=str(self._outputs),
        )
        reply = self.ask(do="open", job=dataclasses.asdict(job))
        self.seconds = seconds = reply.pop("call_seconds", 0.0)
        self.measured = dataclasses.replace(self.measured, **reply)
        effort = self._task.effort
        self.rounds = rounds_of(seconds, effort)
        wanted = max(effort.seconds, seconds * self.rounds)
        if self.running and wanted > self._left:
            left = max(0.0, self._left)
            self.end("too slow", f"{seconds:.1f} s a run: to be timed takes {wanted:.1f} s, and {left:.1f} s are left")

    def check(self) -> None:
        """Do `open`, and give up where the outputs are not what is right."""
        self.open()
        if not self.running:
            return
        task = self._task
        result = judge_outputs(task.bundle.spec, self.graph, task.case, task.setting.batch, np.load(self._outputs))
        self.measured = dataclasses.replace(self.measured, in_noise=result.in_noise, verdict=result.verdict)
        if result.verdict == "failed":
            self.end("wrong", result.off)

    def ask(self, **request: Any) -> dict[str, Any]:
        """The child's reply; where there is none, or a refusal, `measured` says so and the reply is empty."""
        if self._child is None:
            return {}
        started = time.monotonic()
        try:
            reply = self._child.ask(request, max(_TO_FINISH if request["do"] == "finish" else 0.0, self._left))
            self._left -= time.monotonic() - started
        except ChildError as error:
            how = f"takes over {self._task.effort.limit:g} s" if error.late else error.how.splitlines()[-1]
            self.end("too slow" if error.late else "failed", how)
            return {}
        if "refused" in reply:
            self.end("refused", reply["refused"])
            return {}
        return reply

    def end(self, status: Status, reason: str) -> None:
        """Give up.

        Args:
            status: How it ended.
            reason: Why.
        """
        self.measured = dataclasses.replace(self.measured, status=status, reason=reason)
        self.close()

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.close()
        self._child = None

    @property
    def _outputs(self) -> Path:
        return self._task.folder / f"{self.name}.npy"


def rounds_of(seconds: float, effort: Effort) -> int:
    """In how many rounds a contender takes part, so that it is timed for about as long as others.

    Args:
        seconds: Of a run, of which every round has one at least.
        effort: How long is measured.
    """
    fitting = int(effort.seconds / seconds) if seconds else effort.rounds
    return min(effort.rounds, max(_FEWEST, fitting))


def in_turn(runners: Sequence[Runner], effort: Effort) -> list[Timing | None]:
    """Time contenders in turn, burst by burst.

    Args:
        runners: They are open.
        effort: How long.

    Returns:
        The times of each, which are also in its `measured`; None where one has broken off.
    """
    for number in range(effort.rounds):
        for runner in runners:
            if number * runner.rounds // effort.rounds != (number + 1) * runner.rounds // effort.rounds:
                runner.ask(do="burst", seconds=effort.seconds / effort.rounds)
    for runner in runners:
        if reply := runner.ask(do="finish"):
            runner.measured = dataclasses.replace(runner.measured, time=Timing(**reply))
    return [runner.measured.time for runner in runners]


def _graph_name(contender: Contender, graph: GraphInfo) -> str:
    """How a graph differs from others of its setting, for a contender that runs its file."""
    words = [graph.emission, "rings" if graph.ring else "", graph.precision if graph.precision != "fp32" else ""]
    return ", ".join(filter(None, words)) if contender.reads_graph else ""
