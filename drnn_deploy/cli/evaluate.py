"""`drnn-deploy evaluate BUNDLE|CHECKPOINT`."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drnn_core.errors import InputError
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import (
    conclude,
    json_option,
    make_console,
    progress,
    show_missing,
    show_next,
    write_json,
)
from drnn_deploy.cli.options import device_options, threads_option
from drnn_deploy.cli.tables import Column, print_table
from drnn_deploy.cli.values import RUNTIME, BundleOrCheckpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drnn_deploy.evaluation import Evaluation, Split
    from drnn_deploy.parity.results import Missing
    from drnn_runtimes.bundle import Bundle
    from drnn_runtimes.runtime import Runtime

RUNTIMES = ("torch", "onnxruntime-cpu")
_WHERE_IT_RUNS = "native"


@command()
@click.argument("path", metavar="BUNDLE|CHECKPOINT", type=BundleOrCheckpoint())
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    type=RUNTIME,
    help="A runtime for the bundle, which must be usable; repeat for several. "
    f"[default: {', '.join(RUNTIMES)}, and {_WHERE_IT_RUNS} where it runs]",
)
@device_options
@threads_option
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many sequences.")
@json_option
def evaluate(
    path: Path,
    runtimes: tuple[str, ...],
    threads: int | None,
    split: Split,
    limit: int | None,
    json_path: str | None,
) -> int:
    """Measure a network's metric on its task.

    Of a bundle through each runtime, counting predictions that differ (exit code 1 if any); of a checkpoint through
    PyTorch.
    """
    from drnn_deploy.evaluation import as_json, evaluate_bundle, evaluate_checkpoint
    from drnn_runtimes.bundle import Bundle
    from drnn_runtimes.registry import with_threads

    console = make_console(json_path)
    missing: list[Missing] = []
    if path.is_file():
        from drnn_models.checkpoint import load_checkpoint

        if runtimes:
            fix = f"Export it first: drnn-export {path}; or leave --runtime out."
            raise InputError(f"{path} is a checkpoint; --runtime chooses among those that run a bundle", fix)
        if threads is not None:
            fix = f"Export it first: drnn-export {path}; or set OMP_NUM_THREADS in the place of --threads."
            raise InputError(f"{path} is a checkpoint; --threads is of the runtimes of a bundle", fix)
        with progress(console) as notify:
            notify("torch on the checkpoint")
            results = [evaluate_checkpoint(load_checkpoint(path), str(path), split, limit=limit)]
    else:
        opened = Bundle.open(path)
        with progress(console) as notify:
            chosen, missing = _chosen(runtimes, opened)
            chosen = with_threads(chosen, threads, runtimes)
            results = evaluate_bundle(opened, chosen, split, limit=limit, notify=notify)
    write_json(json_path, {**as_json(results), "missing": [dataclasses.asdict(entry) for entry in missing]})
    names = list(results[0].metrics)
    columns = [Column("runtime", kind="name"), Column("graph", kind="name")]
    columns += [Column(name.replace("_", " ")) for name in names]
    columns += [Column("predictions", 1), Column("changed"), Column("seconds", 2)]
    rows = [_cells(result, names) for result in results]
    print_table(console, columns, rows)
    for name, caveat in {result.runtime: result.caveat for result in results if result.caveat}.items():
        console.print(f"note    {name}: {caveat}")
    show_missing(console, missing)
    changed = [
        f"{result.runtime} {result.graph}: {result.changed:,} predictions" for result in results if result.changed
    ]
    name = shlex.quote(str(path))
    then = f"how fast it is: drnn-deploy bench {name}" if path.is_dir() else f"drnn-export {name}"
    if len(results) > 1:
        same = "every prediction is the same everywhere"
        text = f"(exit code 1) changed: {', '.join(changed)}" if changed else same
        conclude(console, not changed, text, then=f"why: drnn-parity {name} --explain" if changed else then)
    else:
        show_next(console, then)
    return int(bool(changed))


def _cells(result: Evaluation, names: Sequence[str]) -> list[str]:
    metrics = (f"{result.metrics[name]:.6f}" for name in names)
    counts = (f"{result.predictions:,}", f"{result.changed:,}", f"{result.seconds:.1f}")
    return [result.runtime, result.graph, *metrics, *counts]


def _chosen(names: tuple[str, ...], bundle: Bundle) -> tuple[list[Runtime], list[Missing]]:
    """The runtimes that take part, and why the one that need not be there does not."""
    from drnn_deploy.evaluation import why_left_out
    from drnn_runtimes.registry import find_runtime, require

    if names:
        return require(names), []
    further = find_runtime(_WHERE_IT_RUNS)
    absent = why_left_out(further, bundle)
    return [*require(RUNTIMES), *([] if absent else [further])], [absent] if absent else []
