"""`drnn-deploy plan model.pt`."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import json_option, make_console, progress, show_next, styled, write_json
from drnn_deploy.cli.options import goal_options, take_goal
from drnn_deploy.cli.tables import Column, print_table
from drnn_deploy.cli.values import BatchSize, CheckpointFile

if TYPE_CHECKING:
    from rich.console import Console

    from drnn_deploy.planner.candidates import Candidate
    from drnn_deploy.planner.plan import Plan


_MARK = "*"  # of the recommended graph, where there are no colours
_LEGEND = (
    "*: recommended; cells: evaluations for each sequence, of which so many steps wait for one another (sequential"
    " steps)",
    "first output: so many steps after the first sample, and a run; build, engine: of TensorRT, for one compute"
    " capability; kB: of the ONNX file",
)


@command()
@click.argument("model", type=CheckpointFile())
@goal_options
@click.option("--length", type=click.IntRange(min=1), help="Time steps of a sequence. [default: the checkpoint's task]")
@click.option("--batch", type=BatchSize(), default="1", show_default=True, help="Sequences at a time.")
@click.option("--node-budget", type=click.IntRange(min=1), help="Most nodes of an unrolled graph. [default: 20000]")
@json_option
def plan(model: Path, json_path: str | None, **given: Any) -> None:
    """Compare the graphs of a network: forms, chunk lengths and styles, with what each costs, and recommend one.

    Without --latency or --throughput the goal is whole sequences. `drnn-export` follows the recommendation where its
    own options leave the choice open.
    """
    console = make_console(json_path)
    from drnn_deploy.planner.plan import plan_checkpoint, refuse_ignored_rate
    from drnn_models.checkpoint import load_checkpoint

    goal, typed = take_goal(given), dict(given)
    refuse_ignored_rate(given["rate"], given["target"] or "onnxruntime-cpu", goal or "sequence")  # before PyTorch
    batch = None if isinstance(given["batch"], tuple) else given.pop("batch")
    chosen = {name: value for name, value in given.items() if value is not None and name != "batch"}
    with progress(console) as notify:
        notify("comparing the graphs")
        made = plan_checkpoint(load_checkpoint(model), batch=batch, goal=goal or "sequence", **chosen)
    write_json(json_path, _as_json(made))
    _show(console, made, model, typed)


def _show(console: Console, made: Plan, model: Path, given: dict[str, Any]) -> None:
    from drnn_deploy.planner.candidates import UNITS
    from drnn_deploy.planner.notes import plan_notes

    unit = UNITS[made.target]
    console.print(f"for {made.target}, {made.goal}:", styled(f"{made.chosen.name},", "bold green"), made.reason)
    columns = (
        Column("", kind="name"),
        Column("graph", kind="name"),
        Column("nodes", 4),
        Column("kB", 8),
        Column("cells", 5),
        Column("sequential steps", 2),
        Column("MACs", 6),
        Column(f"first output, steps + {unit}"),
        Column(f"step, {unit}"),
        Column("build, s", 1),
        Column("engine, MB", 7),
    )
    ordered = sorted(made.candidates, key=lambda candidate: candidate is not made.chosen)
    rows = [_cells(candidate, _MARK if candidate is made.chosen else "") for candidate in ordered]
    print_table(console, columns, rows, styles=["bold green", *[""] * (len(rows) - 1)])
    for line in (*_LEGEND, *plan_notes(made.target)):
        console.print(f"note    {line}")
    show_next(console, _export(model, made, given))


def _export(model: Path, made: Plan, given: dict[str, Any]) -> str:
    """The command that exports the recommended graph."""
    words = ["drnn-export", str(model), *([] if made.goal == "sequence" else [f"--{made.goal}"])]
    for name in ("target", "length", "rate", "node_budget"):
        if given[name] is not None and (name != "length" or made.goal == "sequence"):  # of streams all graphs take any
            words += [f"--{name.replace('_', '-')}", str(given[name])]
    batch = "dynamic" if given["batch"] is None else given["batch"]
    if batch != 1:
        words += ["--batch", ":".join(map(str, batch)) if isinstance(batch, tuple) else str(batch)]
    return shlex.join(words)


def _cells(candidate: Candidate, mark: str) -> list[str]:
    from drnn_deploy.planner.plan import shown_cost
    from drnn_deploy.reports.text import shown_figure

    work = candidate.work
    return [
        mark,
        candidate.name,
        f"{work.size.nodes:,}",
        f"{work.size.file_bytes / 1e3:,.0f}",
        f"{work.evaluations:,}",
        f"{work.depth:,}",
        f"{work.multiply_adds:,}",
        f"{candidate.wait:,} + {shown_cost(candidate.cost)}",
        shown_figure(candidate.cost_per_step),
        shown_figure(candidate.build_seconds, 2),
        f"{candidate.engine_bytes / 1e6:,.1f}",
    ]


def _as_json(made: Plan) -> dict[str, Any]:
    def described(candidate: Candidate) -> dict[str, Any]:
        return {
            "graph": candidate.name,
            "request": dataclasses.asdict(candidate.request),
            "nodes": candidate.work.size.nodes,
            "file_bytes": candidate.work.size.file_bytes,
            "multiply_adds": candidate.work.multiply_adds,
            "cells": candidate.work.evaluations,
            "sequential_cells": candidate.work.depth,
            "wait_steps": candidate.wait,
            "cost": candidate.cost,
            "cost_per_step": candidate.cost_per_step,
            "build_seconds": candidate.build_seconds,
            "engine_bytes": candidate.engine_bytes,
        }

    from drnn_deploy.planner.candidates import UNITS
    from drnn_deploy.planner.notes import plan_notes

    return {
        "passed": True,
        "target": made.target,
        "goal": made.goal,
        "unit": UNITS[made.target],
        "recommended": described(made.chosen),
        "reason": made.reason,
        "notes": plan_notes(made.target),
        "candidates": [described(candidate) for candidate in made.candidates],
    }
