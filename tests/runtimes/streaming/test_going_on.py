"""A stream goes on from a state, here and elsewhere; rows start again; a state that does not fit is refused."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy.parity.tolerance import NOISE_MULTIPLE
from drnn_runtimes.bundle import Bundle
from drnn_runtimes.registry import find_runtime
from drnn_runtimes.streaming.state import StreamState
from tests.networks import Case, cases, make_case
from tests.runtimes.streaming.streams import every_step, request, streaming


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
    right, steps = case.answer(), joined.shape[1]
    assert np.all(np.abs(joined - right.outputs[:, :steps]) <= NOISE_MULTIPLE * right.noises["fp32"][:steps])


def test_waiting_samples_are_part_of_the_state(bundle: Bundle, case: Case) -> None:
    runtime = find_runtime("onnxruntime-cpu")
    with runtime.stream(bundle, "chunk8") as whole, runtime.stream(bundle, "chunk8") as rest:
        expected = whole.push(case.inputs)
        with runtime.stream(bundle, "chunk8") as stream:
            assert stream.push(case.inputs[:, :13]).shape == (2, 8, 3)
            rest.restore(stream.state())
        assert rest.waiting == 5
        np.testing.assert_array_equal(rest.push(case.inputs[:, 13:]), expected[:, 8:])


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


def test_rows_start_between_chunks_only(bundle: Bundle, case: Case) -> None:
    with find_runtime("onnxruntime-cpu").stream(bundle, "chunk8") as stream:
        stream.push(case.inputs[:, :9])
        with pytest.raises(InputError, match="1 samples wait for a chunk of 8"):
            stream.reset(rows=[0])
        stream.reset()
        for rows in ([2], [-1], [0, 5], [2**70]):
            with pytest.raises(InputError, match="rows are 0 to 1"):
                stream.reset(rows)


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
