"""What is no state of a stream is refused whole: the stream stays as it was, and its next answers are the same."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.streaming.state import StreamState
from drnn_runtimes.streaming.stream import Stream
from tests.networks import make_case
from tests.runtimes.streaming.streams import bundle_of
from tests.runtimes.streaming.streams import request as chunk_of

Arrays = dict[str, Any]
Change = Callable[[Arrays, dict[str, Any]], object]
SPEC = ModelSpec("gru", (8, 8, 8), (3, 5, 2), Continuous(1), Head("sequence", 4))
SYMBOLS = dataclasses.replace(SPEC, input=Tokens(7))
RUNTIMES = ("onnxruntime-cpu", "torch")
SAMPLES = np.random.default_rng(1).standard_normal((1, 40, 1)).astype(np.float32)


def waiting_is(value: Any) -> Change:
    return lambda arrays, about: arrays.__setitem__("waiting", np.asarray(value))


def line_is(change: Callable[[Any], Any]) -> Change:
    return lambda arrays, about: arrays.__setitem__("line_l0_h", change(arrays["line_l0_h"]))


def about_is(key: str, value: Any) -> Change:
    return lambda arrays, about: about.__setitem__(key, value)


def forget_and_widen(arrays: Arrays, about: dict[str, Any]) -> None:
    """A line of sevens and another count of steps, which are right, and waiting samples that do not fit."""
    arrays["line_l0_h"] = np.full_like(arrays["line_l0_h"], 7)
    about["steps"] = 999
    arrays["waiting"] = np.zeros((1, 3, 5), np.float32)


CASES: dict[str, Change] = {
    "waiting-nan": waiting_is(np.full((1, 5, 1), np.nan, np.float32)),
    "waiting-infinite": waiting_is(np.full((1, 5, 1), np.inf, np.float32)),
    "waiting-strings": waiting_is(np.full((1, 5, 1), "7.5")),
    "waiting-complex": waiting_is(np.full((1, 5, 1), 1 + 2j)),
    "waiting-float64": waiting_is(np.zeros((1, 5, 1))),
    "waiting-tokens": waiting_is(np.zeros((1, 5), np.int64)),
    "waiting-other-width": waiting_is(np.zeros((1, 3, 5), np.float32)),
    "waiting-other-batch": waiting_is(np.zeros((2, 3, 1), np.float32)),
    "waiting-no-axes": waiting_is(np.float32(1)),
    "waiting-1-axis": waiting_is(np.zeros(1, np.float32)),
    "waiting-2-axes": waiting_is(np.zeros((1, 3), np.float32)),
    "waiting-4-axes": waiting_is(np.zeros((1, 3, 1, 1), np.float32)),
    "waiting-a-whole-chunk": waiting_is(np.zeros((1, 8, 1), np.float32)),
    "waiting-much-more": waiting_is(np.zeros((1, 1 << 20, 1), np.float32)),
    "line-nan": line_is(lambda line: line * np.nan),
    "line-float64": line_is(lambda line: line.astype(np.float64)),
    "line-other-byte-order": line_is(lambda line: line.astype(">f4")),
    "line-too-short": line_is(lambda line: line[:, 1:]),
    "line-without-axes": line_is(lambda line: np.float32(1)),
    "line-missing": lambda arrays, about: arrays.pop("line_l0_h"),
    "steps-negative": about_is("steps", -5),
    "steps-text": about_is("steps", "7"),
    "steps-fraction": about_is("steps", 1.5),
    "steps-whole-fraction": about_is("steps", 7.0),
    "steps-true": about_is("steps", True),
    "steps-beyond-64-bits": about_is("steps", 1 << 70),
    "steps-missing": lambda arrays, about: about.pop("steps"),
    "lines-missing": about_is("lines", ["l0_h"]),
    "lines-no-list": about_is("lines", "l0_h"),
    "lines-twice": about_is("lines", ["l0_h", "l1_h", "l0_h"]),
    "lines-lists": about_is("lines", [["l0_h"]]),
    "model-list": about_is("model", []),
    "format-of-golden-data": about_is("format", "other/1"),
    "half-applied": forget_and_widen,
}


@pytest.fixture(scope="module", params=RUNTIMES)
def stream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stream]:
    with opened(SPEC, request.param, tmp_path_factory.mktemp("bundle")) as stream:
        yield stream


@pytest.fixture
def good(stream: Stream, tmp_path: Path) -> Path:
    """The state after 21 steps, five of which wait for a chunk of eight to be full."""
    stream.reset()
    stream.push(SAMPLES[:, :21])
    stream.save_state(tmp_path / "good.npz")
    return tmp_path / "good.npz"


def opened(spec: ModelSpec, runtime: str, folder: Path) -> contextlib.AbstractContextManager[Stream]:
    return find_runtime(runtime).stream(bundle_of(folder, make_case(spec, 1, 8), chunk_of(8)))


def write_variant(good: Path, path: Path, change: Change) -> None:
    """The good state file with one change."""
    arrays = dict(np.load(good))
    about = json.loads(str(arrays.pop("about")))
    change(arrays, about)
    np.savez(path, about=np.array(json.dumps(about)), **arrays)


def assert_same(one: StreamState, other: StreamState) -> None:
    assert (one.model, one.steps) == (other.model, other.steps)
    np.testing.assert_array_equal(one.waiting, other.waiting, strict=True)
    assert one.lines.keys() == other.lines.keys()
    for name, line in one.lines.items():
        np.testing.assert_array_equal(line, other.lines[name], strict=True)


@pytest.mark.parametrize("name", CASES)
def test_file_that_is_no_state(stream: Stream, good: Path, tmp_path: Path, name: str) -> None:
    before, expected = stream.state(), stream.push(SAMPLES)
    stream.load_state(good)
    write_variant(good, tmp_path / "bad.npz", CASES[name])
    with pytest.raises(InputError, match=r"state"):
        stream.load_state(tmp_path / "bad.npz")
    assert_same(stream.state(), before)
    np.testing.assert_array_equal(stream.push(SAMPLES), expected)


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip
shapes = st.lists(st.sampled_from([0, 1, 2, 3, 5, 7, 8]), max_size=4).map(tuple)
dtypes = st.sampled_from(["f4", "f8", "f2", "i8", "i4", "u1", "b1", "c8", "U3", ">f4"])


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """One to three parts replaced, taken out, or made infinite in places."""
    steps = []
    for _ in range(draw(st.integers(1, 3))):
        part = draw(st.sampled_from(["waiting", "line_l0_h", "line_l2_h"]))
        kind = draw(st.integers(0, 4))
        if kind == 0:
            steps.append(about_is(draw(st.sampled_from(["format", "model", "steps", "lines"])), draw(anything)))
        elif kind == 1:
            steps.append(lambda arrays, about, part=part: arrays.pop(part, None))
        elif kind == 2:
            value = np.ones(draw(shapes), draw(dtypes))
            steps.append(lambda arrays, about, part=part, value=value: arrays.__setitem__(part, value))
        elif kind == 3:
            number = draw(st.sampled_from([np.nan, np.inf, 1e30, -7.0]))
            steps.append(lambda arrays, about, part=part, number=number: fill_one(arrays, part, number))
        else:
            start = draw(st.integers(0, 4))
            steps.append(lambda arrays, about, part=part, start=start: cut(arrays, part, start))
    return lambda arrays, about: [step(arrays, about) for step in steps]


def fill_one(arrays: Arrays, part: str, number: float) -> None:
    if part in arrays and arrays[part].dtype == np.float32 and arrays[part].size:
        arrays[part].flat[-1] = number


def cut(arrays: Arrays, part: str, start: int) -> None:
    if part in arrays and arrays[part].ndim > 1:
        arrays[part] = arrays[part][:, start:]


@given(change=changes())
def test_any_change_of_a_state_is_taken_as_it_is_or_changes_nothing(
    stream: Stream, tmp_path_factory: pytest.TempPathFactory, change: Change
) -> None:
    folder = tmp_path_factory.mktemp("states")
    stream.reset()
    stream.push(SAMPLES[:, :21])
    stream.save_state(folder / "good.npz")
    before, expected = stream.state(), stream.push(SAMPLES)
    stream.load_state(folder / "good.npz")
    write_variant(folder / "good.npz", folder / "bad.npz", change)
    try:
        stream.load_state(folder / "bad.npz")
    except InputError as error:
        assert "bad.npz" in error.message or "state" in error.message
        assert_same(stream.state(), before)
        np.testing.assert_array_equal(stream.push(SAMPLES), expected)
    else:
        arrays = dict(np.load(folder / "bad.npz"))
        about = json.loads(str(arrays["about"]))
        lines = {name: arrays[f"line_{name}"] for name in about["lines"]}
        assert_same(stream.state(), StreamState(about["model"], about["steps"], arrays["waiting"], lines))
        assert np.isfinite(stream.push(SAMPLES)).all()


@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), end=st.none() | st.floats(0, 1))
def test_flipped_bits_and_files_cut_short_change_nothing(
    stream: Stream, tmp_path_factory: pytest.TempPathFactory, at: float, bit: int, end: float | None
) -> None:
    path = tmp_path_factory.mktemp("states") / "state.npz"
    stream.reset()
    stream.push(SAMPLES[:, :21])
    stream.save_state(path)
    before = stream.state()
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 1 << bit
    path.write_bytes(content if end is None else content[: int(end * len(content))])
    with contextlib.suppress(InputError):
        stream.load_state(path)
    assert_same(stream.state(), before)


@pytest.mark.parametrize("token", [-1, 7, 1 << 62])
def test_waiting_tokens_are_of_the_vocabulary(tmp_path: Path, token: int) -> None:
    tokens: NDArray[np.int64] = np.arange(5)[None]
    with opened(SYMBOLS, "reference", tmp_path) as stream:
        stream.push(tokens)
        before = stream.state()
        stream.restore(dataclasses.replace(before, waiting=np.array([[6, 0]])))
        with pytest.raises(InputError, match="the state's waiting tokens must be 0 to 6"):
            stream.restore(dataclasses.replace(before, waiting=np.array([[6, token]])))
        np.testing.assert_array_equal(stream.state().waiting, [[6, 0]])


@pytest.mark.parametrize("change", [
    {"steps": -1}, {"steps": np.int64(3)}, {"waiting": [[1.0]]}, {"waiting": np.full((1, 2, 1), np.nan, np.float32)},
    {"lines": {"l0_h": np.zeros((1, 3, 8))}}, {"lines": {"l0_h": None}},
])  # fmt: skip
def test_what_would_not_be_read_is_not_written(stream: Stream, tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="state"):
        dataclasses.replace(stream.state(), **change).save(tmp_path / "state.npz")
    assert not list(tmp_path.iterdir())


def test_file_that_unpacks_to_more_than_the_stream_has_is_not_read(stream: Stream, good: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(good))
    np.savez_compressed(tmp_path / "bomb.npz", **{**arrays, "waiting": np.zeros((1, 20 << 20, 1), np.float32)})
    with pytest.raises(InputError, match=r"bomb\.npz cannot be read as a stream's state: it unpacks to 83\.9 MB"):
        stream.load_state(tmp_path / "bomb.npz")
