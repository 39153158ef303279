"""Files of inputs and outputs: hostile until checked, in content and in size."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drnn_core.errors import InputError
from drnn_deploy.importing import recorded
from drnn_deploy.importing.recorded import read_recorded, snippet
from drnn_models.spec import Continuous, Head, ModelSpec, Tokens
from tests.bomb import Bomb

REAL = ModelSpec("gru", (4,), (1,), Continuous(2), Head("last", 3))
WORDS = ModelSpec("gru", (4,), (1,), Tokens(7), Head("last", 3))
WIDE = ModelSpec("lstm", (512,), (1,), Continuous(2), Head("last", 3))
X, Y = np.ones((2, 5, 2), np.float32), np.ones((2, 3), np.float32)
T = np.ones((2, 5), np.int64)


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("spec, arrays, says", [
    (REAL, {}, "does not hold inputs with their outputs"),
    (REAL, {"x9": X, "y9": Y}, "does not hold inputs with their outputs"),
    (REAL, {"inputs": X}, "does not hold inputs with their outputs"),
    (REAL, {"inputs_3": X, "outputs_4": Y}, "does not hold inputs with their outputs"),
    (REAL, {"inputs": X[:, :, :1], "outputs": Y}, "takes (sequences, steps, 2) of numbers, and 'inputs' is float32"),
    (REAL, {"inputs": T, "outputs": Y}, "of shape (2, 5)"),
    (REAL, {"inputs": X[:0], "outputs": Y}, "of shape (0, 5, 2)"),
    (REAL, {"inputs": X.astype("U1"), "outputs": Y}, "is <U1"),
    (REAL, {"inputs": X.astype(complex), "outputs": Y}, "is complex128"),
    (REAL, {"inputs": X, "outputs": Y.astype(np.float16)}, "are float16: to be compared, the original must run in"),
    (REAL, {"inputs": X, "outputs": Y.astype(np.int64)}, "are int64"),
    (REAL, {"inputs": X * np.nan, "outputs": Y}, "NaN or infinity"),
    (REAL, {"inputs": X, "outputs": Y * np.inf}, "NaN or infinity"),
    (REAL, {"inputs": np.ones((1, 20_001, 2), np.float32), "outputs": Y}, "20,001 steps of all layers are too many"),
    (REAL, {"inputs": np.ones((80_000, 10, 2), np.float32), "outputs": Y}, "11,200,000 values of all gates are too"),
    (WIDE, {"inputs": np.ones((9, 200, 2), np.float32), "outputs": Y}, "multiplications are too many to compare"),
    (WORDS, {"inputs": X, "outputs": Y}, "takes (sequences, steps) of whole numbers"),
    (WORDS, {"inputs": T.astype(float), "outputs": Y}, "is float64"),
    (WORDS, {"inputs": T * 7, "outputs": Y}, "tokens outside 0 to 6"),
    (WORDS, {"inputs": -T, "outputs": Y}, "tokens outside 0 to 6"),
])  # fmt: skip
def test_what_the_network_does_not_take(spec: ModelSpec, arrays: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_recorded(npz(tmp_path / "o.npz", **arrays), spec)
    assert says in refused.value.message
    assert "numpy.savez" in refused.value.fix
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("inputs", [X, X.astype(np.float64), X.astype(np.float16), X.astype(np.int32)])
def test_numbers_of_any_real_type_are_read(inputs: Any, tmp_path: Path) -> None:
    (pair,) = read_recorded(npz(tmp_path / "o.npz", inputs=inputs, outputs=Y), REAL)
    assert pair.inputs.dtype in (np.float32, np.float64)
    np.testing.assert_array_equal(pair.inputs, X)


def test_pickles_are_not_run(tmp_path: Path) -> None:
    bomb = np.array([Bomb(tmp_path / "marker")], dtype=object)
    with pytest.raises(InputError, match="cannot be read"):
        read_recorded(npz(tmp_path / "o.npz", inputs=bomb, outputs=Y), REAL)
    assert not (tmp_path / "marker").exists()


def test_archive_that_unpacks_to_more_than_is_read_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recorded._MOST_BYTES == 1 << 28
    monkeypatch.setattr(recorded, "_MOST_BYTES", 10_000_000)
    np.savez_compressed(tmp_path / "o.npz", inputs=np.zeros(3_000_000, np.float32))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(InputError, match="it unpacks to 12 MB, more than 10 MB"):
        read_recorded(tmp_path / "o.npz", REAL)


def test_header_that_claims_more_than_there_is_allocates_nothing(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1, 1 << 40, 2)})
    with zipfile.ZipFile(tmp_path / "o.npz", "w") as archive:
        archive.writestr("inputs.npy", header.getvalue())
    with pytest.raises(InputError):
        read_recorded(tmp_path / "o.npz", REAL)


@given(st.binary(max_size=200), st.integers(0, 600), st.booleans())
def test_any_bytes_are_an_input_error(noise: bytes, where: int, cut: bool) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, inputs=X, outputs=Y)
    right = buffer.getvalue()
    content = right[:where] if cut else right[:where] + noise + right[where + len(noise) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "o.npz"
        path.write_bytes(content)
        try:
            read_recorded(path, REAL)
        except InputError as error:
            assert error.fix


@pytest.mark.parametrize("spec", [
    ModelSpec("lstm", (2048,) * 2, (1, 2), Continuous(2), Head("last", 3)),
    ModelSpec("rnn", (2,) * 13, tuple(2**layer for layer in range(13)), Continuous(2), Head("last", 3)),
], ids=["wide", "deep"])  # fmt: skip
def test_what_the_code_saves_is_never_too_long(spec: ModelSpec, tmp_path: Path) -> None:
    shape = [int(size) for size in snippet(spec).partition("torch.randn(")[2].partition(")")[0].split(",")]
    read_recorded(npz(tmp_path / "o.npz", inputs=np.ones(shape, np.float32), outputs=Y), spec)
