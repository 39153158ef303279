"""`drnn-parity BUNDLE|CHECKPOINT...`."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_core.errors import InputError, ParityError, refuse_ignored
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import (
    json_option,
    make_console,
    progress,
    write_json,
)
from drnn_deploy.cli.explanations import Explaining
from drnn_deploy.cli.options import (
    device_options,
    graph_options,
    reference_minutes_option,
    take_tolerance,
    threads_option,
    tolerance_options,
)
from drnn_deploy.cli.parity_files import write_page, write_texts
from drnn_deploy.cli.parity_shown import retyped, show
from drnn_deploy.cli.values import (
    POSITIVE,
    RUNTIME,
    BundleOrCheckpoint,
    CheckpointFile,
    InputFile,
    Name,
    OutputFile,
    OutputFolder,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drnn_deploy.parity.results import ParityReport
    from drnn_deploy.reports.regressions import Regression


def _tasks() -> list[str]:
    from drnn_zoo import recipe_names

    return recipe_names()


@command()
@click.argument("paths", metavar="[BUNDLE|CHECKPOINT]...", nargs=-1, type=BundleOrCheckpoint())
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    type=RUNTIME,
    help="Only this one, which must be usable; repeat. [default: all here]",
)
@click.option(
    "--require", "required", multiple=True, type=RUNTIME, help="Must take part, or exit code 3; others do too. Repeat."
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=Name("task", _tasks, "all"),
    help="Without a path: check the zoo's network of this task; repeat, or type all. With a path: measure this task in "
    "place of the network's own.",
)
@click.option(
    "--task-data",
    type=click.IntRange(min=1),
    help="Measure the task on so many sequences of its test split, too. [default: the examples in the file]",
)
@graph_options(
    form="Only these; repeat. [default: all]",
    emission="Only graphs written like this; repeat. [default: all in the bundle, the usual ones of a checkpoint]",
    precision="Only graphs of this precision; repeat. [default: all in the bundle, fp32 of a checkpoint]",
)
@device_options
@threads_option
@click.option(
    "--golden",
    is_flag=True,
    help="Believe a bundle's golden data, where computing float64 from its weights takes too long. The report says so.",
)
@click.option(
    "--against",
    metavar="CHECKPOINT",
    type=CheckpointFile(),
    help="Also compare a bundle's network and weights with the checkpoint that it is said to be from.",
)
@click.option(
    "--inputs",
    metavar="FILE",
    type=InputFile("an array that numpy.save or numpy.savez wrote"),
    help="Also check a bundle on these sequences: an array (sequences, steps, features), or tokens (sequences, steps), "
    "in a .npy file, or several in a .npz file.",
)
@click.option(
    "--outputs",
    metavar="FILE",
    type=InputFile("an array that numpy.save or numpy.savez wrote"),
    help="What the sequences of --inputs gave elsewhere, for example on a device: judged like a runtime's.",
)
@click.option(
    "--graph",
    metavar="FILE.onnx",
    type=InputFile("the path of an .onnx file"),
    help="Check this graph in place of the bundle's, of which a simplifier, quantizer or converter made it, on "
    "onnxruntime-cpu or each --runtime.",
)
@click.option(
    "--rename", "renames", metavar="A=B", multiple=True, help="Input or output A of --graph is B of the bundle; repeat."
)
@reference_minutes_option
@tolerance_options
@click.option(
    "--baseline",
    type=InputFile("an earlier report of --json"),
    help="An earlier report of --json, or parity.json of a bundle: what got worse by more than noise fails too.",
)
@click.option(
    "--max-slowdown",
    type=POSITIVE,
    help="With --baseline: times that a sequence may take longer. [default: times do not count]",
)
@click.option("--html", "html_path", type=OutputFile(), help="Also write one self-contained page.")
@click.option("--junit", "junit_path", type=OutputFile(), help="Also write JUnit XML.")
@click.option("--markdown", "markdown_path", type=OutputFile(), help="Also write Markdown.")
@click.option("--explain", is_flag=True, help="Name the layer and operator that a failing runtime gets wrong.")
@click.option(
    "--repro",
    "repro_path",
    metavar="DIR",
    type=OutputFolder(),
    help="Also write the least that still fails of each failure; explains it as well.",
)
@json_option
def parity(
    paths: tuple[Path, ...],
    tasks: tuple[str, ...],
    baseline: Path | None,
    max_slowdown: float | None,
    html_path: Path | None,
    junit_path: Path | None,
    markdown_path: Path | None,
    explain: bool,
    repro_path: Path | None,
    json_path: str | None,
    **options: Any,
) -> int:
    """Check that every runtime computes what float64 makes of a bundle's weights, and that its files hold that.

    A CHECKPOINT is exported in several forms, batches and lengths for the check, and these are not kept. Exit code 1
    where a runtime's numbers are off or worse than the baseline's, 3 where one that was asked for cannot run, or
    none can.
    """
    console = make_console(json_path)
    chosen = _chosen(paths, tasks)
    if options["graph"] and (explain or repro_path):
        raise InputError("--explain and --repro are for a bundle's own graphs", "Leave them out, or --graph.")
    refuse_ignored(
        (max_slowdown is not None and baseline is None, "--max-slowdown", "--baseline"),
        (
            options["golden"] and options["reference_minutes"] is not None,
            "--reference-minutes",
            "no --golden",
        ),
    )
    with progress(console) as notify:
        from drnn_deploy.matrix.options import MatrixOptions
        from drnn_deploy.matrix.run import check_path
        from drnn_deploy.parity.report_format import require_format
        from drnn_deploy.reports.regressions import read_baseline, regressions

        earlier = read_baseline(baseline) if baseline else None
        named = tasks[0] if paths and tasks else None
        tolerance = take_tolerance(options)
        given = {name: value for name, value in options.items() if value is not None}
        how = MatrixOptions(**given, task=named, tolerance=tolerance)
        explained = Explaining(
            explain, repro_path, notify, several=len(chosen) > 1, again=_again(bool(paths)), threads=how.threads
        )
        reports = {
            name: check_path(path, how, notify=notify, inspect=functools.partial(explained.explain, name))
            for name, path in chosen.items()
        }
    data = as_json(reports)
    for entry in data["reports"]:
        entry |= explained.to_json(entry["path"])
    worse = regressions(earlier, data, max_slowdown) if earlier else []
    code = _exit_code(reports, worse)
    data |= {"passed": code == 0, "exit_code": code}
    if baseline:
        data["baseline"] = {
            "file": baseline.name,
            "regressions": [dataclasses.asdict(regression) for regression in worse],
        }
    require_format(data)
    write_json(json_path, data)
    write_texts(reports, worse, junit_path, markdown_path, explained.markdown())
    if html_path:
        write_page(html_path, reports, data, worse, explained, chosen)
    show(console, reports, worse, code, explained, how, chosen)
    return code


def as_json(reports: dict[str, ParityReport]) -> dict[str, Any]:
    """What `--json` writes of the reports alone; see parity.schema.json."""
    from drnn_core.environment import environment

    code = _exit_code(reports, ())
    entries = [{"path": path, **report.to_json()} for path, report in reports.items()]
    return {"passed": code == 0, "exit_code": code, "environment": environment(), "reports": entries}


def _again(paths: bool) -> list[str]:
    """What was typed, without what an explanation's own command says: the path, the runtime and the tolerance."""
    said = {"paths", "runtimes", "required", "max_noise", "atol", "rtol", "explain", "repro_path"}
    said |= {"outputs"}  # of elsewhere, which say nothing of a runtime here
    return retyped(said if paths else said | {"tasks"})


def _exit_code(reports: dict[str, ParityReport], worse: Sequence[Regression]) -> int:
    code = max((report.exit_code for report in reports.values()), key=lambda code: (code == 1, code))
    return ParityError.exit_code if worse else code


def _chosen(paths: tuple[Path, ...], tasks: tuple[str, ...]) -> dict[str, Path]:
    """Name for reports -> what to check: the paths, or the zoo's networks of the tasks."""
    if paths:
        if len(tasks) > 1 or "all" in tasks:
            raise InputError("with a path, --task names the one task to measure", "Name one, or leave the paths out.")
        return {str(path): path for path in paths}
    if not tasks:
        raise InputError("nothing to check", "Type: drnn-parity BUNDLE, drnn-parity model.pt or drnn-parity --task all")
    from drnn_zoo import zoo_checkpoint, zoo_tasks

    return dict(zoo_checkpoint(task) for task in (zoo_tasks() if "all" in tasks else tasks))
