"""`drnn-deploy run BUNDLE --input x.npy --output y.npy`: a bundle on arrays of the user's own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drnn_core.errors import InputError
from drnn_deploy.cli.command import command
from drnn_deploy.cli.console import json_option, make_console, progress, show_next, write_json
from drnn_deploy.cli.options import device_options, threads_option
from drnn_deploy.cli.values import RUNTIME, BundleFolder, InputFile, OutputFile

if TYPE_CHECKING:
    from collections.abc import Collection

    from drnn_runtimes.bundle import Bundle
    from drnn_runtimes.whole_runs import WholeRun


@command()
@click.argument("path", metavar="BUNDLE", type=BundleFolder())
@click.option(
    "--input",
    "input_path",
    metavar="FILE",
    type=InputFile("an array that numpy.save or numpy.savez wrote"),
    required=True,
    help="An array (sequences, steps, features), or tokens (sequences, steps), as .npy; or several as .npz.",
)
@click.option(
    "--output",
    "output_path",
    metavar="FILE",
    type=OutputFile(),
    required=True,
    help="Where the outputs go: a .npy file, or a .npz file with the names of the input's.",
)
@click.option("--runtime", "runtime_name", type=RUNTIME, default="onnxruntime-cpu", show_default=True)
@click.option(
    "--form", help="The bundle's graph. [default: of whole sequences of this length, else the first that has state]"
)
@device_options
@threads_option
@json_option
def run(
    path: Path,
    input_path: Path,
    output_path: Path,
    runtime_name: str,
    form: str | None,
    threads: int | None,
    json_path: str | None,
) -> None:
    """Run sequences through a bundle, each from the zero state, and write what comes out.

    A graph of whole sequences answers as in training. A graph with state reads each sequence as a stream: it answers
    every step or, with a head that looks back, every chunk.
    """
    console = make_console(json_path)
    import numpy as np

    from drnn_core.files import writing
    from drnn_core.npz import read_arrays, save_arrays
    from drnn_runtimes.bundle import Bundle
    from drnn_runtimes.registry import chosen_runtime
    from drnn_runtimes.whole_runs import run_sequences

    _check_path(output_path)
    runtime = chosen_runtime(runtime_name, threads)
    bundle = Bundle.open(path)
    arrays = read_arrays(input_path, "Save it with numpy.save('x.npy', x), or several with numpy.savez.")
    if "" in arrays and output_path.suffix == ".npz":
        raise InputError(f"{input_path} holds one array, and {output_path} would hold several", "Write a .npy file.")
    if "" not in arrays and output_path.suffix == ".npy":
        raise InputError(f"{input_path} holds {len(arrays)} arrays, each with a name", "Write a .npz file.")
    with progress(console) as notify:
        runs = {
            name: run_sequences(bundle, array, runtime, form, name=name or input_path.name, notify=notify)
            for name, array in arrays.items()
        }
    with writing(output_path) as buffer:
        if "" in runs:
            np.save(buffer, runs[""].outputs)
        else:
            save_arrays(buffer, {name: done.outputs for name, done in runs.items()})
    write_json(json_path, {"passed": True, "runtime": runtime.name, "runs": list(map(_as_json, runs.items()))})
    for name, done in runs.items():
        shape = " x ".join(map(str, done.outputs.shape))
        took = f"{done.seconds * 1e3:.3g} ms by {runtime.name} on {done.graph.name}"
        console.print(f"{name or 'output'}  {shape} {done.outputs.dtype}, {took}")
    words = ["drnn-parity", path, "--inputs", input_path, "--outputs", output_path, *_precision(bundle, runs.values())]
    console.print(f"wrote   {output_path}")
    show_next(console, shlex.join(map(str, words)))


def _check_path(output_path: Path) -> None:
    """Refuse before anything is read what cannot be written."""
    if output_path.suffix not in (".npy", ".npz"):
        raise InputError(f"{output_path} must end in .npy or .npz", "Type for example --output y.npy")


def _precision(bundle: Bundle, runs: Collection[WholeRun]) -> list[str]:
    """The words that make a check of the outputs take the limit of the graph that gave them."""
    ran = {done.graph.precision for done in runs}
    return ["--precision", *ran] if len(ran) == 1 and {graph.precision for graph in bundle.graphs} != ran else []


def _as_json(entry: tuple[str, WholeRun]) -> dict[str, Any]:
    name, done = entry
    shape = list(done.outputs.shape)
    return {"name": name, "graph": done.graph.name, "shape": shape, "seconds": done.seconds}
