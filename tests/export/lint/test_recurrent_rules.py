"""Recurrent nodes whose sizes, types or attributes contradict each other: what the lint and TensorRT-RTX make of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import pytest

from drnn_export.lint.linter import Finding, lint_model
from tests.export.lint.drafts import Draft, feeds, model
from tests.export.lint.graphs import weights
from tests.export.lint.rtx_verdicts import verdicts

T, B, C, H = 6, 3, 4, 8
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
Fate = Literal["built", "refused", "not compiled", "built, but no valid node", "built for one batch"]


def node(cell: str = "LSTM", free: bool = False, attributes: dict[str, Any] | None = None, **inputs: Any) -> Draft:
    """A node of which some inputs are others than right; `attributes`: None leaves one out."""
    gates = GATES[cell]
    names = ("x", "W", "R", "B", "lengths", "h0", "c0", "P")
    known = {"x": weights(T, B, C), "W": weights(1, gates * H, C), "R": weights(1, gates * H, H), **inputs}
    values = [known.get(name) for name in names]
    while values[-1] is None:
        values.pop()
    given = {"hidden_size": H, **(attributes or {})}
    return Draft(
        cell,
        tuple(values),
        frozenset(index for index, value in enumerate(values) if index and value is not None),
        {name: value for name, value in given.items() if value is not None},
        opset=17,
        free=frozenset({(0, 1)}) if free else frozenset(),
    )


def lengths(*values: int) -> Any:
    return np.array(values, np.int32)


def narrow(draft: Draft) -> Draft:
    """The node in float16."""
    inputs = (v.astype(np.float16) if v is not None and v.dtype == np.float32 else v for v in draft.inputs)
    return dataclasses.replace(draft, inputs=tuple(inputs))


CASES: dict[str, tuple[Draft, Fate, str]] = {  # the node, what TensorRT-RTX does, and words of the finding
    "R narrow": (node(R=weights(1, 4 * H, 3)), "refused", "input 2 ('i2') is 3, and 8 is asked for"),
    "hidden_size missing": (node(attributes={"hidden_size": None}), "refused", "hidden_size is missing"),
    "hidden_size of another": (node(attributes={"hidden_size": 16}), "refused", "is 32, and 4 x 16 is asked for"),
    "hidden_size negative": (node(attributes={"hidden_size": -1}), "refused", "hidden_size is -1"),
    "features of W": (node(W=weights(1, 4 * H, C + 1)), "refused", "input 1 ('i1') is 5, and 4 is asked for"),
    "W of another cell": (
        node("GRU", W=weights(1, 4 * H, C), R=weights(1, 4 * H, H)),
        "built, but no valid node",
        "is 32, and 3 x 8 is asked for",
    ),
    "W of two axes": (node(W=weights(4 * H, C)), "refused", "has 2 axes, and these are asked for: [D, 4*H, C]"),
    "B short": (node(B=weights(1, 4 * H)), "refused", "input 3 ('i3') is 32, and 8 x 8 is asked for"),
    "P short": (node(P=weights(1, 2 * H)), "not compiled", "input 7 ('i7') is 16, and 3 x 8 is asked for"),
    "two directions, one W": (
        node(attributes={"direction": "bidirectional"}),
        "built, but no valid node",
        "input 1 ('i1') is 1, and 2 is asked for",
    ),
    "direction unknown": (node(attributes={"direction": "backward"}), "refused", "direction=backward"),
    "direction in capitals": (node(attributes={"direction": "FORWARD"}), "refused", "direction=FORWARD"),
    "h0 of batch 1": (node(h0=weights(1, 1, H)), "not compiled", "input 5 ('i5') is 1, and 3 is asked for"),
    "h0 of batch 1, GRU": (node("GRU", h0=weights(1, 1, H)), "not compiled", "input 5 ('i5') is 1, and 3 is asked for"),
    "h0 batch first": (node(h0=weights(B, 1, H)), "not compiled", "input 5 ('i5') is 3, and 1 is asked for"),
    "h0 of two axes": (node(h0=weights(B, H)), "refused", "has 2 axes, and these are asked for: [D, B, H]"),
    "c0 narrow": (node(c0=weights(1, B, 3)), "refused", "input 6 ('i6') is 3, and 8 is asked for"),
    "h0 frozen": (node("GRU", free=True, h0=weights(1, B, H)), "built for one batch", "fixes what axis 1 of input 0"),
    "lengths frozen": (node("GRU", free=True, lengths=lengths(6, 5, 4)), "built for one batch", "fixes what axis 1"),
    "lengths of INT64": (node(lengths=np.array([6, 5, 4])), "refused", "sequence_lens"),
    "lengths too few": (node(lengths=lengths(6, 5)), "refused", "input 4 ('i4') is 2, and 3 is asked for"),
    "lengths beyond the end": (node(lengths=lengths(6, 5, 9)), "built, but no valid node", "has 9"),
    "lengths below zero": (node(lengths=lengths(6, 5, -1)), "built, but no valid node", "has -1"),
    "lengths beside float16": (narrow(node(lengths=lengths(6, 5, 4))), "refused", "input 4 ('i4') must be left out"),
    "x of two axes": (node(x=weights(T, C)), "refused", "rank 3"),
    "x of float16": (node(x=weights(T, B, C).astype(np.float16)), "refused", "inconsistent type"),
    "gates of Elu": (
        node(attributes={"activations": ["Elu", "Tanh", "Tanh"]}),
        "not compiled",
        "does not take Elu for more than one",
    ),
    "directions with other parameters": (
        node("RNN", W=weights(2, H, C), R=weights(2, H, H), attributes={
            "direction": "bidirectional", "activations": ["LeakyRelu"] * 2, "activation_alpha": [0.1, 0.2]}),
        "refused",
        "both directions",
    ),
    "layout 2": (node(attributes={"layout": 2}), "built, but no valid node", "layout=2"),
}  # fmt: skip


def errors(draft: Draft) -> list[Finding]:
    return [finding for finding in lint_model(model(draft), "tensorrt-11", Path()) if finding.severity == "error"]


@pytest.mark.parametrize("name", CASES)
def test_the_finding_names_input_and_sizes(name: str) -> None:
    draft, _, words = CASES[name]
    assert any(words in finding.what and finding.fix for finding in errors(draft)), errors(draft)


@pytest.mark.parametrize("cell", GATES)
def test_right_nodes_stay_accepted(cell: str) -> None:
    more = {"c0": weights(1, B, H), "P": weights(1, 3 * H)} if cell == "LSTM" else {}
    every = {"B": weights(1, 2 * GATES[cell] * H), "lengths": lengths(6, 5, 4), "h0": weights(1, B, H), **more}
    for draft in (node(cell), node(cell, free=True), node(cell, **every)):
        assert errors(draft) == []


def saved(folder: Path) -> dict[str, Path]:
    """The file of each case."""
    files = {name: folder / f"{index}.onnx" for index, name in enumerate(CASES)}
    for name, path in files.items():
        onnx.save(model(CASES[name][0]), path)
    return files


def test_the_parser_does_what_the_cases_say(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")
    files = saved(tmp_path)
    parsed = verdicts(files.values())
    for name, path in files.items():
        assert parsed[path].accepted == (CASES[name][1] != "refused"), name


@pytest.mark.nightly
def test_the_compiler_does_what_the_cases_say(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")
    taken = {path: CASES[name] for name, path in saved(tmp_path).items() if CASES[name][1] != "refused"}
    built = verdicts(taken, build=True, fed={path: feeds(draft) for path, (draft, _, _) in taken.items()})
    for path, (draft, fate, _) in taken.items():
        assert built[path].accepted == (fate != "not compiled"), draft


def test_an_axis_that_nobody_names_is_no_contradiction() -> None:
    """A state for a fixed batch beside data of which inference does not know the batch."""
    graph = model(node("GRU", h0=weights(1, B, H)))
    graph.graph.input[0].name = "before"
    graph.graph.node.insert(0, onnx.helper.make_node("Identity", ["before"], ["i0"]))
    graph.graph.input[0].type.tensor_type.ClearField("shape")
    assert [f for f in lint_model(graph, "tensorrt-11", Path()) if f.severity == "error"] == []


def test_a_batch_that_only_the_lengths_leave_free_is_a_warning() -> None:
    draft = node("GRU", lengths=lengths(6, 5, 4))
    loose = dataclasses.replace(draft, fixed=draft.fixed - {4}, free=frozenset({(4, 0)}))
    findings = lint_model(model(loose), "tensorrt-11", Path())
    assert {(finding.severity, finding.rule) for finding in findings} == {
        ("warning", "frozen"),
        ("warning", "free-axis"),
    }


ONE_ROW = {  # of the GRU: steps, hidden units -> whether the compiler ends
    (5, 3): False,
    (5, 6): False,
    (4, 4): True,
    (5, 2): True,
    (5, 7): True,
}


def one_row(steps: int, hidden: int, **attributes: Any) -> Draft:
    values = {"x": weights(steps, 1, C), "W": weights(1, 3 * hidden, C), "R": weights(1, 3 * hidden, hidden)}
    return node("GRU", attributes={"hidden_size": hidden, **attributes}, **values)


@pytest.mark.parametrize(("steps", "hidden"), ONE_ROW)
def test_a_small_gru_of_one_row_is_an_error_on_rtx(steps: int, hidden: int) -> None:
    found = {finding.rule for finding in lint_model(model(one_row(steps, hidden)), "tensorrt-rtx", Path())}
    assert found == (set() if ONE_ROW[steps, hidden] else {"endless"})
    assert errors(one_row(steps, hidden)) == []
    assert lint_model(model(one_row(steps, hidden, linear_before_reset=1)), "tensorrt-rtx", Path()) == ()


@pytest.mark.nightly
@pytest.mark.parametrize(("steps", "hidden"), ONE_ROW)
def test_the_compiler_ends_where_the_lint_says_so(steps: int, hidden: int, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx-cu13")
    path = tmp_path / "model.onnx"
    onnx.save(model(one_row(steps, hidden)), path)
    assert verdicts([path], build=True)[path].accepted == ONE_ROW[steps, hidden]
