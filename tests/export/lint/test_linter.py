"""The lint against NVIDIA's own parser and compiler (TensorRT-RTX, no GPU needed), and against hostile files."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import onnx
import pytest

from drnn_core.errors import InputError
from drnn_core.types import Emission, Form, Precision
from drnn_export.emitter.emit import emit
from drnn_export.emitter.request import GraphRequest
from drnn_export.lint.linter import MISREAD, Finding, LintTarget, lint_file, lint_model, load_table
from drnn_models.cells import Cell
from drnn_models.checkpoint import load_checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec
from drnn_zoo import zoo_checkpoint, zoo_tasks
from tests.export.lint import graphs
from tests.export.lint.cases import MISTAKEN, NOT_COMPILED, REFUSED, TAKEN
from tests.export.lint.rtx_verdicts import Verdict, verdicts
from tests.networks import random_weights
from tests.nightly import NIGHTLY, combinations, some_by_day

pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")

Saved = dict[str, Path]
Verdicts = dict[str, Verdict]
NOT_SEEN = {  # onnx's own examples that the parser refuses for what no static check of ours knows
    "test_range_bfloat16_type_positive_delta_expanded": "a Loop whose trip count is computed in floating point",
    "test_range_float16_type_positive_delta_expanded": "a Loop whose trip count is computed in floating point",
    "test_range_float_type_positive_delta_expanded": "a Loop whose trip count is computed in floating point",
}


def errors(findings: tuple[Finding, ...]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def says_refused(path: Path) -> bool:
    """Whether the lint says that no engine can be built."""
    return any(finding.rule not in MISREAD for finding in errors(lint_file(path, ["tensorrt-rtx"])["tensorrt-rtx"]))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    folder = tmp_path_factory.mktemp("graphs") / "in"
    folder.mkdir()
    graphs.write_external(folder)
    groups = {
        "taken": TAKEN,
        "refused": REFUSED,
        "late": NOT_COMPILED,
        "mistaken": {n: m for n, (_, m) in MISTAKEN.items()},
    }
    files: Saved = {}
    for group, members in groups.items():
        for name, graph in members.items():
            files[f"{group}: {name}"] = folder / f"{len(files)}.onnx"
            onnx.save(graph, files[f"{group}: {name}"])
    return files


@pytest.fixture(scope="module")
def parsed(saved: Saved) -> Verdicts:
    found = verdicts(saved.values())
    return {name: found[path] for name, path in saved.items()}


@pytest.fixture(scope="module")
def built(saved: Saved) -> Verdicts:
    """What is compiled: all that the compiler refuses, and of what it takes by day every fourth graph."""
    files = {name: path for name, path in saved.items() if name.startswith("late")}
    taken = [name for name in saved if name.startswith("taken")]
    files |= {name: saved[name] for name in (taken if NIGHTLY else taken[::4])}
    found = verdicts(files.values(), build=True)
    return {name: found[path] for name, path in files.items()}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken(name: str, saved: Saved, parsed: Verdicts, built: Verdicts) -> None:
    verdict = built.get(f"taken: {name}") or parsed[f"taken: {name}"]
    assert verdict.accepted, verdict.details
    assert errors(lint_file(saved[f"taken: {name}"])["tensorrt-rtx"]) == []


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, saved: Saved, parsed: Verdicts) -> None:
    assert not parsed[f"refused: {name}"].accepted
    assert says_refused(saved[f"refused: {name}"])


@pytest.mark.parametrize("name", NOT_COMPILED)
def test_what_the_compiler_refuses(name: str, saved: Saved, parsed: Verdicts, built: Verdicts) -> None:
    assert parsed[f"late: {name}"].accepted
    assert not built[f"late: {name}"].accepted
    assert says_refused(saved[f"late: {name}"])


def test_an_output_without_a_type_is_refused(tmp_path: Path) -> None:
    graph = TAKEN["IR version 99"]
    bare = onnx.ModelProto.FromString(graph.SerializeToString())
    bare.graph.output[0].ClearField("type")
    onnx.save(bare, tmp_path / "bare.onnx")
    assert not verdicts([tmp_path / "bare.onnx"])[tmp_path / "bare.onnx"].accepted
    assert says_refused(tmp_path / "bare.onnx")


@pytest.mark.parametrize("name", MISTAKEN)
def test_what_the_parser_takes_in_silence(name: str, saved: Saved, parsed: Verdicts) -> None:
    assert parsed[f"mistaken: {name}"].accepted
    found = errors(lint_file(saved[f"mistaken: {name}"])["tensorrt-rtx"])
    assert {finding.rule for finding in found} == {MISTAKEN[name][0]}


def test_what_the_parser_misreads(parsed: Verdicts) -> None:
    """Every rule of `MISREAD`, seen in the network that the parser makes."""
    assert {rule for rule, _ in MISTAKEN.values()} == MISREAD
    batch_first = MISTAKEN["GRU, batch first"][1]
    inferred = onnx.shape_inference.infer_shapes(batch_first).graph.output[0].type.tensor_type.shape.dim
    assert tuple(axis.dim_value for axis in inferred) == (graphs.T, graphs.B, 1, graphs.H)
    assert parsed["mistaken: GRU, batch first"].outputs == ((graphs.T, 1, graphs.B, graphs.H),)
    assert parsed["mistaken: float64 input"].inputs == ("FLOAT",)
    assert parsed["mistaken: Tanh of another domain"] == parsed["taken: opset 9"]
    assert "INT8" in parsed["mistaken: quantised to UINT8"].layers
    assert "INT8" in parsed["mistaken: quantised without a zero point"].layers


SUPPORTED = """
import json, tensorrt_rtx as trt, onnx
logger = trt.Logger(trt.Logger.ERROR)
parser = trt.OnnxParser(trt.Builder(logger).create_network(0), logger)
names = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
print(json.dumps([name for name in names if parser.supports_operator(name)]))
"""


def test_operators_are_those_that_the_parser_supports() -> None:
    ran = subprocess.run([sys.executable, "-c", SUPPORTED], check=True, capture_output=True, text=True, timeout=120)
    supported = set(json.loads(ran.stdout.splitlines()[-1]))
    listed = load_table("tensorrt-rtx").operators.keys()
    assert len(supported) > 150
    plugins = {"CausalConvWithState", "LinearAttention", "NonZero", "RoiAlign"}  # that TensorRT-RTX does not come with
    assert supported - listed == plugins | {"NonMaxSuppression"}  # which no kernel of it computes
    assert listed & {schema.name for schema in onnx.defs.get_all_schemas_with_history()} <= supported


def requests() -> list[GraphRequest]:
    """Every form, emission and precision that there is, with fixed and dynamic batch."""
    made = []
    for form, emission, batch in itertools.product(get_args(Form), get_args(Emission), (1, 2, None)):
        for precision in get_args(Precision) if batch == 2 else ("fp32",):
            steps = 1 if form == "step" else 7
            with contextlib.suppress(InputError):
                block = 3 if emission == "blocked" else None
                made.append(GraphRequest(steps, batch, emission, form=form, precision=precision, block=block))
    return made


@pytest.mark.parametrize("cell", some_by_day(["lstm", "gru", "rnn"], 3))
def test_own_graphs_are_taken(cell: Cell, tmp_path: Path) -> None:
    spec = ModelSpec(cell, (5, 4), (1, 2), Continuous(2), Head("last", 3))
    files = []
    assert {(request.form, request.emission) for request in requests()} >= {
        ("step", "skewed"),
        ("chunk", "mixed"),
        ("sequence", "blocked"),
    }
    assert {request.precision for request in requests()} == set(get_args(Precision))
    for request in requests():
        files.append(tmp_path / f"{request.form}-{request.emission}-{request.precision}-{request.batch}.onnx")
        files[-1].write_bytes(emit(spec, random_weights(spec, 0), request).SerializeToString())
    for path, verdict in verdicts(files).items():
        assert verdict.accepted, verdict.details
        for target, findings in lint_file(path).items():
            assert errors(findings) == [], (path.name, target)
            rules = {finding.rule for finding in findings}
            assert ("free-axis" in rules) == ("None" in path.name)


@pytest.mark.parametrize(("task", "target"), combinations(zoo_tasks(), get_args(LintTarget), by_day=2))
def test_graphs_of_the_zoo_are_clean(task: str, target: LintTarget) -> None:
    spec = load_checkpoint(zoo_checkpoint(task)[1]).spec
    weights = random_weights(spec, 0)
    of_chunks = [emission for emission in get_args(Emission) if emission not in ("blocked", "skewed")]
    wholes: list[Emission] = ["fused", "blocked"]
    for form, steps, emissions in (
        ("sequence", 600, wholes),
        ("chunk", 4, of_chunks),
        ("step", 1, [*of_chunks, "skewed"]),
    ):
        for emission in emissions:
            graph = emit(spec, weights, GraphRequest(steps, 2, emission, form=form))
            assert lint_model(graph, target, Path()) == (), (form, emission)


WRITE_EXAMPLES = """
import pkgutil, sys, warnings; warnings.simplefilter("ignore")
import numpy as np, onnx
from pathlib import Path
from onnx.backend.test.case.node import collect_testcases
free, fixed_inputs, by_day, *always = sys.argv[1:]
every = pkgutil.iter_modules  # with which onnx finds its examples: a module for each operator
pkgutil.iter_modules = lambda path: [
    module for place, module in enumerate(every(path)) if place % int(by_day) == 0 or module.name in always
]
for case in collect_testcases(None):
    onnx.save(case.model, Path(free, f"{case.name}.onnx"))
    model, arrays = case.model, dict(zip([i.name for i in case.model.graph.input], case.data_sets[0][0]))
    fixed = [i for i in model.graph.input if getattr(arrays[i.name], "dtype", None) == np.int64]
    if fixed and len(fixed) < len(model.graph.input):
        for value in fixed:
            model.graph.initializer.append(onnx.numpy_helper.from_array(arrays[value.name], value.name))
            model.graph.input.remove(value)
        onnx.save(model, Path(fixed_inputs, f"{case.name}.onnx"))
"""
ALWAYS = ("gru", "if_", "loop", "lstm", "rangeop", "rnn", "scan")


@pytest.mark.nightly
def test_onnx_own_examples(tmp_path: Path) -> None:
    """One for every use of every operator; again with the INT64 inputs, most of them axes and shapes, as weights.

    By day of every fourth operator, and of those that recur.
    """
    folders = [tmp_path / "free", tmp_path / "fixed"]
    for folder in folders:
        folder.mkdir()
    words = [sys.executable, "-c", WRITE_EXAMPLES, *folders, "1" if NIGHTLY else "4", *ALWAYS]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=300)
    files = sorted(path for folder in folders for path in folder.iterdir())
    assert len(files) > (1800 if NIGHTLY else 400)
    parsed, refused = verdicts(files), {path: says_refused(path) for path in files}
    missed = {path.stem for path in files if not parsed[path].accepted and not refused[path]}
    assert missed == NOT_SEEN.keys()
    late = [path for path in files if parsed[path].accepted and refused[path]]
    assert [path.stem for path, verdict in verdicts(late, build=True).items() if verdict.accepted] == []
    assert min(sum(refused.values()), len(files) - sum(refused.values())) > len(files) / 4
