"""Mistakes that hide from a few golden sequences: in some rows, phases, tokens or states, or in a part of the range.

Each is made in a right graph; the numbers alone must show it.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from drnn_deploy import ExportOptions, export
from drnn_deploy.parity.check import check_parity
from drnn_models.checkpoint import Checkpoint
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import require
from tests.drnn_deploy.debug.mutants.mutant import HERE, Change, before, behind, both, constant, weights
from tests.networks import random_weights
from tests.nightly import some_by_day
from tests.sealing import reseal

_made = helper.make_node
LAST, EVERY = Head("last", 3), Head("sequence", 3)


@dataclasses.dataclass(frozen=True)
class Base:
    """A right network and how it is exported."""

    spec: ModelSpec
    options: dict[str, Any]


def _spec(cell: str, head: Head, dilations: tuple[int, ...] = (1, 2, 4), **more: Any) -> ModelSpec:
    return ModelSpec(cell, (4, 5, 6), dilations, head=head, **{"input": Continuous(2), **more})  # type: ignore[arg-type]


BASES = {
    "seven": Base(_spec("lstm", LAST), {"batch": 7}),
    "whole": Base(_spec("gru", EVERY), {"batch": 2, "prune": False}),
    "short": Base(_spec("lstm", EVERY, (1, 4, 32)), {"batch": 2, "length": 7}),
    "last": Base(_spec("rnn", LAST), {}),
    "tokens": Base(_spec("gru", LAST, input=Tokens(90, 3)), {}),
    "one-hot": Base(_spec("gru", EVERY, input=Tokens(11)), {}),
    "read": Base(_spec("lstm", LAST, input=Tokens(90, 3)), {"forms": ("chunk",), "chunk": 5, "ring": False}),
    "chunk": Base(_spec("lstm", LAST), {"forms": ("chunk",), "chunk": 6, "batch": 2, "ring": False}),
    "long ring": Base(_spec("lstm", LAST, (1, 2, 700)), {"forms": ("chunk",), "chunk": 6, "ring": True}),
    "long lines": Base(_spec("gru", LAST, (1, 2, 700)), {"forms": ("chunk",), "chunk": 6, "ring": False}),
    "window": Base(_spec("rnn", EVERY, (3, 6, 12)), {"forms": ("chunk",), "chunk": 5, "batch": 2, "ring": False}),
    "skewed": Base(_spec("lstm", EVERY), {"forms": ("step",), "emissions": ("skewed",), "batch": 2}),
}  # fmt: skip


def _but(shape: tuple[int, ...], place: Any, value: float) -> NDArray[np.float32]:
    """Ones but for a place."""
    table = np.ones(shape, np.float32)
    table[place] = value
    return table


def times(output: str, table: NDArray[np.float32]) -> Change:
    """An output times a table."""
    return both(constant("table", table), behind(output, _made("Mul", ["raw", "table"], [output])))


def read_times(node: str, index: int, table: NDArray[np.float32]) -> Change:
    """What a node reads times a table."""
    return before(node, index, lambda old, new: [_made("Mul", [old, "table"], [new], new)], table=table)


def rows_of(output: str, rows: list[int]) -> Change:
    """An output with its rows in another order."""
    return both(constant("order", np.array(rows)), behind(output, _made("Gather", ["raw", "order"], [output], axis=0)))


def clipped(node: str, index: int, low: float | None, high: float | None) -> Change:
    """What a node reads, cut on one side."""
    limits = {"low": low, "high": high}
    names = [name if value is not None else "" for name, value in limits.items()]
    known = {name: np.float32(value) for name, value in limits.items() if value is not None}
    return before(node, index, lambda old, new: [_made("Clip", [old, *names], [new], new)], **known)


def cut_above(output: str, high: float) -> Change:
    """An output, cut above."""
    return both(constant("high", np.float32(high)), behind(output, _made("Min", ["raw", "high"], [output])))


def leaky(node: str, index: int) -> Change:
    """What a node reads; the negative half a thousandth larger."""
    return before(node, index, lambda old, new: [_made("LeakyRelu", [old], [new], new, alpha=1.001)])


def row(name: str, place: int, value: float = 1.01) -> Change:
    """One row of a table."""

    def change(table: NDArray[Any]) -> NDArray[Any]:
        table[place] *= np.float32(value)
        return table

    return weights(name, change)


MUTANTS: dict[str, tuple[str, Change]] = {
    # rows of batches
    "rows from the fifth on are zero": ("seven", times("output", _but((7, 1), slice(4, None), 0))),
    "the last row is a thousandth larger": ("seven", times("output", _but((7, 1), 6, 1.001))),
    "one output of one row": ("seven", times("output", _but((7, 3), (5, 1), 1.001))),
    "rows 0 and 4 are swapped": ("seven", rows_of("output", [4, 1, 2, 3, 0, 5, 6])),
    "rows 1 and 5 are swapped": ("seven", rows_of("output", [0, 5, 2, 3, 4, 1, 6])),
    "row 6 gives what row 2 should": ("seven", rows_of("output", [0, 1, 2, 3, 4, 5, 2])),
    "rows come in the reverse order": ("seven", rows_of("output", [6, 5, 4, 3, 2, 1, 0])),
    "row 5 of the input is off": ("seven", read_times("l0/lstm", 0, _but((24, 7, 2), (slice(None), 5), 1.001))),
    "one step of row 6": ("seven", read_times("l0/lstm", 0, _but((24, 7, 2), (23, 6), 1.001))),
    # phases and padding
    "phase 1 of two": ("whole", read_times("l1/gru", 0, _but((12, 4, 4), (slice(None), slice(2, 4)), 1.001))),
    "phase 3 of four": ("whole", read_times("l2/gru", 0, _but((6, 8, 5), (slice(None), slice(6, 8)), 1.001))),
    "phase 2 of four, of one sequence": ("whole", read_times("l2/gru", 0, _but((6, 8, 5), (slice(None), 5), 1.001))),
    "the last step of one phase": ("whole", read_times("l2/gru", 0, _but((6, 8, 5), (5, 7), 1.001))),
    "a phase where the sequence is shorter": ("short", read_times("l2/lstm", 0, _but((1, 14, 5), (0, 13), 1.001))),
    # tokens
    "the first token": ("tokens", row("embedding/table", 0)),
    "a token in the middle": ("tokens", row("embedding/table", 45)),
    "the last token": ("tokens", row("embedding/table", 89)),
    "token 31 of a stream": ("read", row("embedding/table", 31)),
    "the last token of a stream": ("read", row("embedding/table", 89)),
    "two tokens of a stream": ("read", weights("embedding/table", lambda t: t[[*range(60), 61, 60, *range(62, 90)]])),
    "a vocabulary that ends early": ("tokens", weights("embedding/table", lambda t: t[[*range(89), 88]])),
    "a vocabulary that wraps at 64": ("tokens", weights("embedding/table", lambda t: t[np.arange(90) % 64])),
    "ones that are less": ("one-hot", weights("one_hot/values", lambda _: np.float32([0, 0.9999]))),
    "zeros that are more": ("one-hot", weights("one_hot/values", lambda _: np.float32([1e-4, 1]))),
    # one side of the range
    "negative inputs are lost": ("last", clipped("l0/rnn", 0, 0, None)),
    "positive inputs are lost": ("last", clipped("l0/rnn", 0, None, 0)),
    "inputs over 2 are cut": ("last", clipped("l0/rnn", 0, None, 2)),
    "inputs over 6 are cut": ("last", clipped("l0/rnn", 0, None, 6)),
    "inputs under -6 are cut": ("last", clipped("l0/rnn", 0, -6, None)),
    "negative inputs are a thousandth larger": ("last", leaky("l0/rnn", 0)),
    "h over 0.9 is cut": ("last", clipped("l1/rnn", 0, None, 0.9)),
    "h under -0.9 is cut": ("last", clipped("l1/rnn", 0, -0.9, None)),
    "negative values before the head": ("last", leaky("head/linear", 0)),
    # states
    "the oldest row of h": ("chunk", read_times("state_l2_h/time_major", 0, _but((2, 4, 6), (slice(None), 0), 1.001))),
    "the newest row of c": ("chunk", times("next_state_l2_c", _but((2, 4, 6), (slice(None), 3), 1.001))),
    "one unit of c": ("chunk", times("next_state_l1_c", _but((2, 2, 5), (0, 1, 4), 1.001))),
    "c of the second sequence": ("chunk", times("next_state_l0_c", _but((2, 1, 4), 1, 0))),
    "h of both sequences swapped": ("chunk", rows_of("next_state_l1_h", [1, 0])),
    "c cut at 2": ("chunk", cut_above("next_state_l2_c", 2)),
    "a ring gives zeros": ("long ring", times("next_state_l2_h", _but((1, 6, 6), slice(None), 0))),
    "a ring reads zeros": ("long ring", read_times("l2/lstm", 6, _but((1, 6, 6), slice(None), 0))),
    "row 5 of a ring": ("long ring", times("next_state_l2_c", _but((1, 6, 6), (0, 5), 1.001))),
    "a long line forgets": ("long lines", times("next_state_l2_h", _but((1, 700, 6), slice(None), 0))),
    "row 350 of a long line": ("long lines", times("next_state_l2_h", _but((1, 700, 6), (0, 350), 1.001))),
    "the newest row of a long line": ("long lines", times("next_state_l2_h", _but((1, 700, 6), (0, 699), 1.001))),
    "one row of the window's memory": ("window", times("next_state_fusion", _but((2, 2, 6), (slice(None), 0), 1.001))),
    "row 5 of the packed lines": ("skewed", times("next_state_lines_h", _but((2, 7, 6), (slice(None), 5), 1.001))),
    "one layer's c in the packed lines": ("skewed", times("next_state_lines_c", _but((2, 7, 6), (slice(None), 0), 0))),
    "a flag that never rises": ("skewed", times("next_state_started", _but((2, 3, 1), (slice(None), 2), 0))),
}  # fmt: skip


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A base's bundle by name, exported once."""
    folder = tmp_path_factory.mktemp("bases")

    def make(name: str) -> Path:
        if not (folder / name).exists():
            base = BASES[name]
            length = {} if "forms" in base.options else {"length": 24}
            options = ExportOptions(**{**length, "engines": (), "runtimes": (HERE,), **base.options})
            result = export(Checkpoint(base.spec, random_weights(base.spec, 3)), folder / name, options)
            assert result.exit_code == 0, result.parity
        return folder / name

    return make


@pytest.mark.parametrize("name", some_by_day(MUTANTS, 6))
def test_mistake_shows_in_the_numbers(name: str, bases: Callable[[str], Path], tmp_path: Path) -> None:
    base, change = MUTANTS[name]
    folder = Path(shutil.copytree(bases(base), tmp_path / "bundle"))
    path = folder / "model.onnx"
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    reseal(folder)
    report = check_parity(Bundle.open(folder), require([HERE]))
    assert [row.error for row in report.rows] == [""], "it did not run at all"
    assert report.exit_code == 1


def test_there_are_mistakes_of_every_kind() -> None:
    assert {base for base, _ in MUTANTS.values()} == set(BASES)
    assert len(MUTANTS) >= 45
