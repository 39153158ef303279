"""The command `drnn-deploy bench` as a function."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drnn_core.errors import InputError
from drnn_core.steps import Notify
from drnn_core.types import Form
from drnn_deploy.bench.contender import Contender
from drnn_deploy.bench.measure import Effort, measure_row
from drnn_deploy.bench.registry import CONTENDERS, choose
from drnn_deploy.bench.results import Absent, BenchReport, Row
from drnn_deploy.bench.settings import Setting, bundle_settings, checkpoint_settings, write_row
from drnn_deploy.parity.graphs import named_graphs
from drnn_runtimes.bundle import Bundle

if TYPE_CHECKING:
    from drnn_models.checkpoint import Checkpoint

QUICK = Effort(seconds=0.2, rounds=5)
_COMPILE_LONG = ("torch-compile", "torch-onnx")  # half a minute and more


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """What is measured, and how long.

    Attributes:
        contenders: Only these, each of which must be usable. Empty: all that are.
        forms: Only these. Empty: whole sequences, and streams.
        emissions: How graphs are written, of a checkpoint; of a bundle, only these. Empty: what suits.
        length: Of a checkpoint, time steps of whole sequences. Default: the task's.
        blocks: Of a checkpoint, time steps of the pieces of a stream. Empty: 1 and 64.
        batches: Sequences of a run. Empty: 1, or what a bundle's graphs take.
        threads: Threads of each contender that has a setting for that.
        effort: How long is measured.
        quick: Whether one graph is enough, and contenders that compile for long are left out, unless they are named.
    """

    contenders: tuple[str, ...] = ()
    forms: tuple[Form, ...] = ()
    emissions: tuple[str, ...] = ()
    length: int | None = None
    blocks: tuple[int, ...] = ()
    batches: tuple[int, ...] = ()
    threads: int = 1
    effort: Effort = dataclasses.field(default_factory=Effort)
    quick: bool = False


def bench(path: Path, options: BenchOptions, *, notify: Notify = lambda _: None) -> BenchReport:
    """Measure a bundle's graphs, or those of a checkpoint, which are written for this and not kept.

    Args:
        path: A bundle's folder or a checkpoint's file.
        options: What to measure, and how long.
        notify: Gets a line on what is done at the moment.

    Raises:
        DeployError: Something cannot be read, emitted or chosen, or a contender that was named cannot run here.
    """
    contenders, absent = usable(options)
    if path.is_dir():
        bundle = _opened(path, options)
        rows = [_row(part, setting, contenders, options, notify) for setting, part in _of_bundle(bundle, options)]
        return BenchReport(bundle.spec.short_name, options.threads, tuple(rows), absent, options.contenders)
    from drnn_models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path)
    settings = checkpoint_settings(checkpoint, options.forms, options.length, options.blocks, options.batches)
    measured = [bench_setting(checkpoint, setting, contenders, options, notify) for setting in settings]
    return BenchReport(checkpoint.dilated.short_name, options.threads, tuple(measured), absent, options.contenders)


def bench_setting(
    checkpoint: Checkpoint,
    setting: Setting,
    contenders: Sequence[Contender],
    options: BenchOptions,
    notify: Notify = lambda _: None,
) -> Row:
    """Measure one setting of a checkpoint.

    Args:
        checkpoint: The network.
        setting: What is run.
        contenders: Who takes part; each is usable here.
        options: Emissions, threads, effort and `quick` count.
        notify: Gets a line on what is done at the moment.

    Raises:
        InputError: No graph can be emitted, or this machine lacks the memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        bundle = write_row(checkpoint, setting, options.emissions, Path(folder) / "bundle", quick=options.quick)
        return _row(bundle, setting, contenders, options, notify)


def usable(options: BenchOptions) -> tuple[list[Contender], tuple[Absent, ...]]:
    """Who takes part, and who cannot run here.

    Args:
        options: Of which `contenders`, `threads` and `quick` count.

    Raises:
        InputError: A name is unknown, or one that was named has no setting for the threads that are asked for.
        RuntimeUnavailableError: One that was named cannot run here.
    """
    having = [name for name, contender in CONTENDERS.items() if contender.has_threads]
    without = [name for name in options.contenders if name in CONTENDERS and name not in having]
    if options.threads > 1 and without:
        fix = f"Leave threads out; these have one: {', '.join(having)}."
        raise InputError(f"{without[0]} has no setting for its threads", fix)
    taking, absent = [], []
    for contender in choose(options.contenders):
        available = contender.availability()
        if not available.usable:
            absent.append(Absent(contender.name, available.detail, available.fix))
        elif options.quick and not options.contenders and contender.name in _COMPILE_LONG:
            absent.append(Absent(contender.name, "it compiles for long", f"Name it: --contender {contender.name}"))
        else:
            taking.append(contender)
    return taking, tuple(absent)


def _opened(path: Path, options: BenchOptions) -> Bundle:
    for name, value in (("--length", options.length), ("--steps", options.blocks)):
        if value:
            raise InputError(
                f"{name} is for a checkpoint, and {path} is a bundle, whose graphs are there", "Leave it out."
            )
    return Bundle.open(path)


def _of_bundle(bundle: Bundle, options: BenchOptions) -> list[tuple[Setting, Bundle]]:
    graphs = named_graphs(bundle.folder, bundle.graphs, form=options.forms, emission=options.emissions)
    return bundle_settings(dataclasses.replace(bundle, graphs=tuple(graphs)), options.batches)


def _row(
    bundle: Bundle, setting: Setting, contenders: Sequence[Contender], options: BenchOptions, notify: Notify
) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        return measure_row(
            bundle,
            setting,
            contenders,
            Path(folder),
            threads=options.threads,
            effort=options.effort,
            notify=notify,
        )
