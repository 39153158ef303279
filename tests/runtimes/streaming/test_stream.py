from __future__ import annotations

import contextlib
import dataclasses
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.files import sha256
from drnn_deploy.exporter.contents import _put_graph
from drnn_deploy.exporter.options import ExportOptions
from drnn_deploy.parity.cases import answered_steps
from drnn_export.emitter.request import GraphRequest
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from drnn_runtimes.bundle import WEIGHTS, Bundle
from drnn_runtimes.bundle.writer import write_weights
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.streaming.state import StreamState
from drnn_runtimes.streaming.stream import Stream
from tests.compilers import NATIVE
from tests.networks import Case, cases, make_case
from tests.nightly import NIGHTLY

SPEC = ModelSpec("lstm", (4, 5), (3, 4), Continuous(2), Head("sequence", 3))
pytestmark = pytest.mark.optional_runtimes("native")
RUNTIMES = ("reference", "torch", "onnxruntime-cpu", NATIVE)
cuts = st.lists(st.integers(0, 15), min_size=1, max_size=8).filter(any)


def bundle_of(folder: Path, case: Case, *requests: GraphRequest) -> Bundle:
    """Graphs and weights, without golden data and manifest."""
    checkpoint = dataclasses.replace(case.checkpoint(), task={"options": {"rate": 8000}})
    options, quiet = ExportOptions(), lambda _: None
    graphs = [_put_graph(folder, checkpoint, request, index, options, quiet) for index, request in enumerate(requests)]
    write_weights(folder, checkpoint.weights)
    return Bundle(folder, case.spec, checkpoint.task, tuple(graphs), (), {WEIGHTS: sha256(folder / WEIGHTS)}, {})


def request(steps: int, batch: int | None = 1, *, ring: bool = True, emission: str = "fused") -> GraphRequest:
    form = "step" if steps == 1 else "chunk"
    return GraphRequest(steps, batch, emission, form=form, ring=ring)  # type: ignore[arg-type]


@contextlib.contextmanager
def streaming(case: Case, wanted: GraphRequest, runtime: str = "onnxruntime-cpu") -> Iterator[Stream]:
    with tempfile.TemporaryDirectory() as folder:
        bundle = bundle_of(Path(folder), case, wanted)
        with find_runtime(runtime).stream(bundle, batch=len(case.inputs)) as stream:
            yield stream


def pieces(inputs: NDArray[np.generic], lengths: list[int]) -> Iterator[NDArray[np.generic]]:
    """Cut along time, going round the lengths until the sequence ends."""
    start, turn = 0, 0
    while start < inputs.shape[1]:
        stop = start + lengths[turn % len(lengths)]
        yield inputs[:, start:stop]
        start, turn = stop, turn + 1


def every_step(case: Case) -> Case:
    """The same network with an output for every step: what a stream may be asked for."""
    return Case(
        dataclasses.replace(case.spec, head=Head("sequence", case.spec.head.outputs)), case.weights, case.inputs
    )


def assert_streamed(case: Case, steps: int, found: NDArray[np.generic]) -> None:
    whole = every_step(case)
    reference = whole.reference()
    expected = reference.outputs[:, answered_steps(steps, case.spec.head.output_steps(steps), case.length)]
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0.0) <= whole.limit().max()


@pytest.mark.parametrize("runtime", RUNTIMES)
@given(
    case=cases(),
    length=st.integers(1, 40),
    steps=st.integers(1, 12),
    ring=st.booleans(),
    emission=st.sampled_from(["fused", "unrolled", "mixed"]),
    lengths=cuts,
)
def test_pieces_of_any_lengths_give_what_the_whole_gives(
    runtime: str, case: Case, length: int, steps: int, ring: bool, emission: str, lengths: list[int]
) -> None:
    case = make_case(case.spec, len(case.inputs), length)
    with streaming(case, request(steps, len(case.inputs), ring=ring, emission=emission), runtime) as stream:
        found = [stream.push(piece) for piece in pieces(case.inputs, lengths)]
        assert (stream.steps, stream.waiting, stream.delay) == (length // steps * steps, length % steps, 0)
    assert_streamed(case, steps, np.concatenate(found, axis=1))


@given(
    case=cases(),
    length=st.integers(2, 40),
    first=st.integers(1, 9),
    second=st.integers(1, 9),
    rings=st.tuples(st.booleans(), st.booleans()),
    at=st.floats(0, 1),
)
def test_state_goes_on_in_another_chunk_length_form_and_runtime(
    case: Case, length: int, first: int, second: int, rings: tuple[bool, bool], at: float
) -> None:
    case = make_case(every_step(case).spec, len(case.inputs), length)
    cut = int(at * length) // first * first
    batch = len(case.inputs)
    with (
        streaming(case, request(first, batch, ring=rings[0])) as one,
        streaming(case, request(second, batch, ring=rings[1]), "torch") as other,
        tempfile.TemporaryDirectory() as folder,
    ):
        found = [one.push(case.inputs[:, :cut])]
        one.save_state(Path(folder) / "state.npz")
        other.load_state(Path(folder) / "state.npz")
        assert other.steps == cut
        found.append(other.push(case.inputs[:, cut:]))
    joined = np.concatenate(found, axis=1)
    assert joined.shape[1] == cut + (length - cut) // second * second
    right = case.reference().outputs[:, : joined.shape[1]]
    assert np.all(np.abs(joined - right) <= case.limit()[: joined.shape[1]])


@pytest.fixture
def case() -> Case:
    return make_case(SPEC, 2, 24)


@pytest.fixture
def bundle(case: Case, tmp_path: Path) -> Bundle:
    (tmp_path / "bundle").mkdir()
    return bundle_of(tmp_path / "bundle", case, request(8, 2), request(1, 2, ring=False), request(4, None))


def test_waiting_samples_are_part_of_the_state(bundle: Bundle, case: Case) -> None:
    runtime = find_runtime("onnxruntime-cpu")
    with runtime.stream(bundle, "chunk8") as whole, runtime.stream(bundle, "chunk8") as rest:
        expected = whole.push(case.inputs)
        with runtime.stream(bundle, "chunk8") as stream:
            assert stream.push(case.inputs[:, :13]).shape == (2, 8, 3)
            rest.restore(stream.state())
        assert rest.waiting == 5
        np.testing.assert_array_equal(rest.push(case.inputs[:, 13:]), expected[:, 8:])


def test_streams_share_a_loaded_graph_and_nothing_else(bundle: Bundle, case: Case) -> None:
    graph = bundle.graph("chunk4")
    with find_runtime("onnxruntime-cpu").load(bundle, graph) as session:
        alone, one, other = (Stream(session, bundle, graph, batch) for batch in (2, 2, 1))
        expected = alone.push(case.inputs)
        found = []
        for start in range(0, 24, 4):
            found.append(one.push(case.inputs[:, start : start + 4]))
            other.push(np.ones((1, 4, 2), np.float32))
        np.testing.assert_array_equal(np.concatenate(found, axis=1), expected)


@pytest.mark.parametrize("form", ["step", "chunk8"])
def test_rows_start_again_by_themselves(form: str, bundle: Bundle, case: Case) -> None:
    with find_runtime("onnxruntime-cpu").stream(bundle, form) as stream:
        fresh = stream.push(case.inputs[:, :8])
        stream.push(case.inputs[:, 8:16])
        stream.reset(rows=[1])
        mixed = stream.push(np.stack([case.inputs[0, 16:], case.inputs[1, :8]]))
        stream.reset()
        assert stream.steps == 0
        whole = stream.push(case.inputs)
    np.testing.assert_allclose(mixed[1], fresh[1], atol=1e-6)
    np.testing.assert_allclose(mixed[0], whole[0, 16:], atol=1e-6)
    np.testing.assert_array_equal(whole[:, :8], fresh)


@given(case=cases(), length=st.integers(1, 30), steps=st.integers(1, 12), ring=st.booleans())
def test_finish_answers_for_what_waits_and_starts_again(case: Case, length: int, steps: int, ring: bool) -> None:
    case = make_case(every_step(case).spec, len(case.inputs), length)
    with streaming(case, request(steps, len(case.inputs), ring=ring)) as stream:
        for _ in range(2):
            found = np.concatenate([stream.push(case.inputs), stream.finish()], axis=1)
            case.assert_within_noise(found)
            assert (stream.steps, stream.waiting) == (0, 0)


def test_finish_cannot_cut_a_chunk_that_has_one_answer() -> None:
    case = make_case(ModelSpec("gru", (3,), (2,), Continuous(1), Head("last", 2)), 1, 8)
    with streaming(case, request(4)) as stream:
        stream.push(case.inputs[:, :6])
        with pytest.raises(InputError, match="2 samples wait for a chunk of 4, whose end head last answers for"):
            stream.finish()
        assert stream.push(case.inputs[:, 6:]).shape == (1, 1, 2)
        assert stream.finish().shape == (1, 0, 2)


def test_rows_start_between_chunks_only(bundle: Bundle, case: Case) -> None:
    with find_runtime("onnxruntime-cpu").stream(bundle, "chunk8") as stream:
        stream.push(case.inputs[:, :9])
        with pytest.raises(InputError, match="1 samples wait for a chunk of 8"):
            stream.reset(rows=[0])
        stream.reset()
        for rows in ([2], [-1], [0, 5]):
            with pytest.raises(InputError, match="rows are 0 to 1"):
                stream.reset(rows)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 3, 2)), r"must be float32 \(2, k, 2\), got float64 \(2, 3, 2\)"),
        (np.zeros((1, 3, 2), np.float32), r"got float32 \(1, 3, 2\)"),
        (np.zeros((2, 3, 1), np.float32), r"got float32 \(2, 3, 1\)"),
        (np.zeros((2, 3), np.float32), r"got float32 \(2, 3\)"),
        (np.full((2, 3, 2), np.nan, np.float32), "NaN or infinity"),
        (np.full((2, 3, 2), np.inf, np.float32), "NaN or infinity"),
    ],
)
def test_wrong_samples_are_refused_and_change_nothing(
    samples: NDArray[np.generic], message: str, bundle: Bundle, case: Case
) -> None:
    with find_runtime("onnxruntime-cpu").stream(bundle, "step") as stream:
        expected = stream.push(case.inputs)
        stream.reset()
        first = stream.push(case.inputs[:, :10])
        with pytest.raises(InputError, match=message):
            stream.push(samples)
        np.testing.assert_array_equal(np.hstack([first, stream.push(case.inputs[:, 10:])]), expected)


def test_tokens_beyond_the_vocabulary_are_refused() -> None:
    case = make_case(ModelSpec("gru", (3,), (2,), Tokens(5), Head("last", 2)), 1, 4)
    with streaming(case, request(2)) as stream:
        for token in (5, -1):
            with pytest.raises(InputError, match="tokens must be 0 to 4"):
                stream.push(np.array([[0, token]]))
        assert stream.push(case.inputs).shape == (1, 2, 2)


@pytest.mark.parametrize(("steps", "ring"), [(1, False), (64, False), (64, True)])
def test_step_allocates_no_array_but_its_output(steps: int, ring: bool) -> None:
    case = make_case(ModelSpec("gru", (32,) * 3, (64, 128, 256), Continuous(16), Head("last", 2)), 4, steps)
    with streaming(case, request(steps, 4, ring=ring)) as stream:
        for _ in range(8):
            stream.push(case.inputs)
        tracemalloc.start()
        try:
            for _ in range(3):
                tracemalloc.reset_peak()
                before, _ = tracemalloc.get_traced_memory()
                output = stream.push(case.inputs)
                _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak - before < output.nbytes + 3000 < case.inputs.nbytes + 3500  # views and integers


def test_wrong_rate_is_refused(bundle: Bundle, case: Case) -> None:
    with find_runtime("onnxruntime-cpu").stream(bundle, "step") as stream:
        with pytest.raises(InputError, match="takes 8000 samples a second, got 16000"):
            stream.push(case.inputs, rate=16000)
        assert stream.push(case.inputs, rate=8000).shape == (2, 24, 3)


def test_closed_stream_takes_nothing(bundle: Bundle, case: Case) -> None:
    with find_runtime("onnxruntime-cpu").stream(bundle, "step") as stream:
        pass
    for use in (lambda: stream.push(case.inputs), stream.reset, stream.state):
        with pytest.raises(InputError, match="the stream is closed"):
            use()


def test_second_thread_is_refused_while_the_first_is_in(bundle: Bundle, case: Case) -> None:
    entered, leave = threading.Event(), threading.Event()
    with find_runtime("onnxruntime-cpu").stream(bundle, "step") as stream:
        run = stream._memory.run

        def slow() -> NDArray[np.generic]:
            entered.set()
            leave.wait(10)
            return run()

        stream._memory.run = slow  # type: ignore[method-assign]
        thread = threading.Thread(target=stream.push, args=(case.inputs[:, :1],))
        thread.start()
        assert entered.wait(10)
        with pytest.raises(InputError, match="another thread is using the stream"):
            stream.push(case.inputs[:, :1])
        leave.set()
        thread.join(10)
        assert stream.steps == 1
        assert stream.push(case.inputs[:, :1]).shape == (2, 1, 3)


def test_state_of_another_model_or_batch_is_refused(bundle: Bundle, case: Case, tmp_path: Path) -> None:
    runtime = find_runtime("onnxruntime-cpu")
    with runtime.stream(bundle, "chunk4", batch=1) as single, runtime.stream(bundle, "step") as stream:
        with pytest.raises(InputError, match="a batch of 1, the stream has 2"):
            stream.restore(single.state())
        state = stream.state()
        with pytest.raises(InputError, match="saved with another model"):
            stream.restore(dataclasses.replace(state, model="other"))
        with pytest.raises(InputError, match="other shapes"):
            stream.restore(dataclasses.replace(state, lines={name: line[:, 1:] for name, line in state.lines.items()}))
        with runtime.stream(bundle, "chunk8") as long:
            long.push(case.inputs[:, :5])
            with pytest.raises(InputError, match="5 samples wait in the state, and step/fused takes chunks of 1"):
                stream.restore(long.state())
        after = stream.state()
    for name, line in state.lines.items():
        np.testing.assert_array_equal(after.lines[name], line)


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "missing"])
def test_damaged_state_file_is_refused(damage: str, bundle: Bundle, case: Case, tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    with find_runtime("onnxruntime-cpu").stream(bundle, "step") as stream:
        stream.push(case.inputs)
        stream.save_state(path)
        content = path.read_bytes()
        if damage in ("cut", "empty"):
            path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
        elif damage == "other":
            np.savez(path, a=np.zeros(3))
        elif damage == "missing":
            path.unlink()
        with pytest.raises(InputError, match=r"state\.npz"):
            stream.load_state(path)


def test_interrupted_save_leaves_the_earlier_file(
    bundle: Bundle, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.npz"
    with find_runtime("onnxruntime-cpu").stream(bundle, "step") as stream:
        stream.save_state(path)
        before = path.read_bytes()
        stream.push(case.inputs)

        def power_cut(self: Path, data: object) -> int:
            self.write_text("half", encoding="utf-8")
            raise KeyboardInterrupt

        monkeypatch.setattr(Path, "write_bytes", power_cut)
        with pytest.raises(KeyboardInterrupt):
            stream.save_state(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["state.npz"]
    assert StreamState.load(path).steps == 0


def test_graph_without_state_or_of_another_batch_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="takes a batch of 2, got 3"),
        find_runtime("reference").stream(bundle, "chunk8", batch=3),
    ):
        pass
    folder = tmp_path / "sequence"
    folder.mkdir()
    whole = bundle_of(folder, make_case(SPEC, 1, 8), GraphRequest(8))
    for form, message in (
        (None, "has no graph with state"),
        ("sequence", "sequence/fused has no state to stream with"),
    ):
        with pytest.raises(InputError, match=message), find_runtime("reference").stream(whole, form):
            pass


def test_thousands_of_steps_do_not_drift() -> None:
    spec = ModelSpec("gru", (8,) * 6, (1, 2, 4, 8, 16, 32), Continuous(1), Head("sequence", 3))
    case = make_case(spec, 1, 10_016 if NIGHTLY else 3_008)
    with streaming(case, request(32)) as stream:
        found = np.concatenate([stream.push(piece) for piece in pieces(case.inputs, [7, 100, 1])], axis=1)
    reference = case.reference()
    error = np.abs(found - reference.outputs).max(axis=(0, 2))
    assert error.max() <= case.limit().max()
    third = len(error) // 3
    early, late = (error[part].max() for part in (slice(third // 3, 4 * third // 3), slice(-third, None)))
    assert late < 3 * early
