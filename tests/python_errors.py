"""Every way to be wrong with the Python interface, and what is said to it: the table of docs/reference/errors.md.

`python -m tests.python_errors` writes the table.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import drnn_core
import drnn_deploy
import drnn_export
import drnn_models
import drnn_runtimes
from drnn_core import DeployError
from drnn_deploy import Bundle, ExportOptions, export
from drnn_models import Continuous, DilatedRNN, Head, ModelSpec, save_checkpoint
from drnn_runtimes import find_runtime

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "errors.md"
HEADER = "| What is written | What it says | And what to do |\n|---|---|---|\n"
WRONG = """
load_checkpoint("none.pt")
load_checkpoint("bundle")
load_checkpoint(3)
save_checkpoint(module, "m.pt")
save_checkpoint("bundle", module)
save_checkpoint("m.pt", spec)
save_checkpoint("m.pt", Checkpoint("gru", weights))
save_checkpoint("m.pt", Checkpoint(spec, {"head.bias": 1}))
save_checkpoint("m.pt", Checkpoint(spec, dict.fromkeys(weights, 1)))
save_checkpoint("m.pt", Checkpoint(other, module.state_dict()))
save_checkpoint("m.pt", Checkpoint(spec, [1, 2]))
export("none.pt", "out")
export("model.pt", 5)
export("model.pt", "model.pt")
export(torch.nn.LSTM(1, 2), "out")
export(module.state_dict(), "out")
export(spec, "out")
export(module, "out")
export(module, "out", lenght=8)
export(module, "out", length="8")
export(module, "out", length=0)
export(module, "out", length=8, batch=2.5)
export(module, "out", length=8, profile=(1, 2))
export(module, "out", length=8, forms="chunk")
export(module, "out", length=8, forms=("sequnce",))
export(module, "out", length=8, precisions=("fp17",))
export(module, "out", length=8, emissions=("fussed",))
export(module, "out", length=8, target="cuda")
export(module, "out", length=8, goal="fast")
export(module, "out", length=8, runtimes="torch")
export(module, "out", length=8, runtimes=("torhc",))
export(module, "out", length=8, engines=("trt",))
export(module, "out", {"length": 8})
Bundle.open("none")
Bundle.open("a" * 300)
load_checkpoint("nul\\0name")
Bundle.open("model.pt")
Bundle.open(None)
bundle.graph("chunk")
bundle.graph(0)
bundle.run("x.npy")
bundle.run([[1, 2], [3]])
bundle.run(x[0])
bundle.run(x[:, :, :1])
bundle.run(x * np.nan)
bundle.run(x[:, :5])
bundle.run(torch.ones(1, 8, 2, requires_grad=True))
bundle.run(x, runtime="onnx")
bundle.run(x, runtime=cpu)
bundle.run(x, form="chunk")
bundle.run(x, threads=0)
bundle.run(x, threads="two")
bundle.run(x, runtime="native", threads=2)
bundle.stream()
streams.stream(batch=0)
streams.stream(batch="two")
streams.stream("chunk99")
stream.push(x[0])
stream.push(x.astype(float))
stream.push(x.tolist())
stream.push(x + np.inf)
stream.push(x, rate="fast")
stream.reset(rows=[9])
stream.reset(rows="all")
stream.restore(None)
stream.load_state("none.npz")
stream.load_state("model.pt")
stream.save_state(5)
closed.push(x)
session.run(x)
session.run({"x": x})
session.run({"input": x.tolist()})
session.run({"input": x.astype(float)})
session.run({"input": x[:, :3]})
session.run({"input": x * np.nan})
session.bind({"input": x}, {"output": [0]})
session.bind({"input": x}, {"output": np.zeros((3, 3), np.float32)})
find_runtime("onnx")
find_runtime(None)
require("torch")
cpu.load("bundle", bundle.graphs[0])
cpu.load(bundle, "sequence")
cpu.with_threads(0)
check_path("none")
check_path(5)
check_path("model.pt", MatrixOptions(inputs="x.npy"))
check_bundle("bundle")
check_bundle(bundle, MatrixOptions(runtimes="torch"))
check_bundle(bundle, MatrixOptions(runtimes=("torhc",)))
check_bundle(bundle, MatrixOptions(forms=("sequnce",)))
check_bundle(bundle, MatrixOptions(inputs="none.npy"))
check_bundle(bundle, MatrixOptions(outputs="y.npy"))
check_bundle(bundle, MatrixOptions(graph="none.onnx"))
check_parity(bundle, ["torch"])
check_parity(bundle, [cpu], tolerance=8)
Tolerance(atol="small")
Tolerance(atol=-1)
evaluate_bundle(bundle, ["torch"])
evaluate_bundle(bundle, [cpu])
evaluate_checkpoint("none.pt", "none.pt")
plan_checkpoint("none.pt")
plan_checkpoint(module, target="cuda")
load_recipe("minst")
load_recipe(5)
train("model.pt", "state")
import_network("none.pt", "out.pt")
import_network("none.pt")
explain_report(bundle, None, [cpu])
ModelSpec("gruu", (4,), (1,), Continuous(2), Head("last", 3))
ModelSpec("gru", 4, (1,), Continuous(2), Head("last", 3))
ModelSpec("gru", (4, 4), (1,), Continuous(2), Head("last", 3))
ModelSpec("gru", (4,), (1,), 2, Head("last", 3))
ModelSpec("gru", (4,), (1,), Continuous(2), Head("lats", 3))
ModelSpec("gru", hiden=(4,))
DilatedRNN("gru")
SkipSpec(None)
SkipRNN(spec)
ConvSpec(chanels=(4,))
Checkpoint(spec, weight={})
Choices(dilation=(1,))
Choices(ignore="fc.*")
import_weights([1, 2], "torch")
module(x)
module(torch.zeros(8, 2))
module(torch.zeros(1, 0, 2))
module.advance(torch.zeros(1, 8, 2), {})
module(torch.zeros(1, 8, 2, dtype=torch.int64))
analyse(spec)
analyse(spec, "784")
suggest(784)
suggest([])
lint_file("none.onnx")
lint_file(5)
emit(spec, weights, "sequence")
emit(spec, {}, GraphRequest(8))
GraphRequest("8")
run_reference(spec, weights, x[0])
run_reference(spec, {}, x)
"""


def table() -> list[str]:
    """The lines of the table, one for each wrong line.

    Raises:
        AssertionError: Something wrong is taken, or is answered by another error or without a fix.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), _names() as names:
        return [_line(code, names) for code in WRONG.strip().splitlines()]


def _line(code: str, names: dict[str, object]) -> str:
    try:
        made = eval(code, names)
        if hasattr(made, "__enter__"):
            made.__enter__()
    except DeployError as error:
        assert error.fix or isinstance(error, drnn_core.SpecError), f"{code}: {error.message}"
        said, fix = (text.replace("\n", " ").replace("|", "\\|") for text in (error.message, error.fix))
        return f"| `{code}` | {said} | {fix} |"
    except Exception as error:
        raise AssertionError(f"{code} raises {type(error).__name__}: {error}") from error
    raise AssertionError(f"{code} is taken")


@contextlib.contextmanager
def _names() -> Iterator[dict[str, object]]:
    """What the lines may name, in an empty folder."""
    spec = ModelSpec("gru", (4, 5), (1, 2), Continuous(2), Head("last", 3))
    module = DilatedRNN(spec)
    save_checkpoint("model.pt", module)
    export(module, "bundle", ExportOptions(length=8, engines=(), runtimes=()))
    export(module, "stream", ExportOptions(forms=("chunk",), chunk=4, engines=(), runtimes=()))
    bundle, streams, cpu = Bundle.open("bundle"), Bundle.open("stream"), find_runtime("onnxruntime-cpu")
    public = {
        name: getattr(package, name)
        for package in (drnn_core, drnn_models, drnn_runtimes, drnn_export, drnn_deploy)
        for name in package.__all__
    }
    with streams.stream() as closed:
        pass
    with streams.stream() as stream, cpu.load(bundle, bundle.graphs[0]) as session:
        yield public | {
            "np": np,
            "torch": torch,
            "spec": spec,
            "other": ModelSpec("gru", (4, 6), (1, 2), Continuous(2), Head("last", 3)),
            "module": module,
            "weights": {name: value.numpy() for name, value in module.state_dict().items()},
            "x": np.zeros((1, 8, 2), np.float32),
            **{"bundle": bundle, "streams": streams, "cpu": cpu},
            **{"stream": stream, "closed": closed, "session": session},
        }


def written() -> str:
    """The page with the table."""
    before, found, after = PAGE.read_text(encoding="utf-8").partition(HEADER)
    assert found
    return before + HEADER + "\n".join(table()) + "\n" + "".join(after.partition("\n\n")[1:])


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    PAGE.write_text(written(), encoding="utf-8")
