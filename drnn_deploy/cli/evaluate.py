"""`drnn-deploy evaluate BUNDLE`."""

from __future__ import annotations

from pathlib import Path

import click

from drnn_deploy.cli.output import json_on_failure, json_option, make_console, progress, write_json


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    default=("torch", "onnxruntime-cpu"),
    show_default=True,
    help="A runtime, which must be usable; repeat for several.",
)
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many sequences.")
@json_option
def evaluate(bundle: Path, runtimes: tuple[str, ...], split: str, limit: int | None, json_path: str | None) -> int:
    """Measure a bundle's metric through its runtimes and count predictions that differ (exit code 1 if any)."""
    from rich.table import Table

    from drnn_deploy.evaluating import as_json, evaluate_bundle
    from drnn_runtimes.bundle import Bundle
    from drnn_runtimes.registry import require

    console = make_console(json_path)
    with json_on_failure(json_path):
        with progress(console) as notify:
            results = evaluate_bundle(Bundle.open(bundle), require(runtimes), split, limit=limit, notify=notify)
        write_json(json_path, as_json(results))
    table = Table("runtime", "form", "accuracy", "cross-entropy", "predictions", "changed", "seconds")
    for result in results:
        accuracy, loss = f"{result.metrics['accuracy']:.4f}", f"{result.metrics['cross_entropy']:.6f}"
        counts = (f"{result.predictions:,}", f"{result.changed:,}", f"{result.seconds:.1f}")
        table.add_row(result.runtime, result.graph, accuracy, loss, *counts)
    console.print(table)
    return int(any(result.changed for result in results))
