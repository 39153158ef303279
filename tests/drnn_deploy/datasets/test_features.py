"""Windows, levels and MFCCs, against computations of their own."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from hypothesis import given
from hypothesis import strategies as st

from drnn_deploy.datasets.features import cut, frame_count, frame_length, levelled, mfcc, padded
from tests.drnn_deploy.datasets.sounds import sine


@given(st.integers(1, 200), st.integers(1, 50))
def test_windows_hold_every_sample_in_order(count: int, length: int) -> None:
    samples = np.arange(1, count + 1, dtype=np.float32)
    windows = cut(samples, length)
    assert windows.shape == (-(-count // length), length)
    assert windows.dtype == np.float32
    assert sorted(set(windows.ravel().tolist()) - {0.0}) == samples.tolist()
    assert windows[-1, -1] == count  # the last step is the last sample
    for row in windows:
        sound = row[row > 0]
        assert row[-len(sound) :].tolist() == sound.tolist()  # zeros only in front
        np.testing.assert_array_equal(np.diff(sound), 1)
    for row in windows[:-1]:  # all but the last begin where the one before ended
        assert (row[0] - 1) % length == 0


@given(st.integers(0, 20), st.integers(20, 40))
def test_padding_is_in_front(count: int, length: int) -> None:
    row = padded(np.ones(count, np.float32), length)
    assert row.tolist() == [0.0] * (length - count) + [1.0] * count


@given(st.floats(1e-3, 1e4), st.integers(1, 300))
def test_windows_are_at_unit_level_whatever_the_loudness(loudness: float, length: int) -> None:
    shape = np.random.default_rng(length).choice([-1.0, 1.0], length)
    (row,) = levelled((loudness * shape)[None].astype(np.float32))
    assert row.dtype == np.float32
    np.testing.assert_allclose(row, shape, rtol=1e-5)


def test_each_window_has_its_own_level_and_silence_stays_silence() -> None:
    loud, quiet, silent = sine(440, 8000, 800), 1e-5 * sine(440, 8000, 800), np.zeros(800)
    rows = levelled(np.stack([loud, quiet, silent]).astype(np.float32))
    assert np.sqrt(np.mean(rows[0] ** 2)) == pytest.approx(1)
    np.testing.assert_allclose(rows[1], 1e3 * quiet, rtol=1e-5)  # below -60 dB: only as much louder as the floor is
    assert not rows[2].any()


@given(st.sampled_from([2000, 8000, 11_025, 16_000, 48_000]), st.integers(0, 4000))
def test_mfccs_have_the_shape_that_is_promised(rate: int, more: int) -> None:
    windows = np.zeros((2, frame_length(rate) + more), np.float32)
    found = mfcc(windows, rate)
    assert found.shape == (2, frame_count(windows.shape[1], rate), 13)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_a_quarter_of_a_second_has_22_frames() -> None:
    assert (frame_length(8000), frame_count(2000, 8000), frame_count(256, 8000), frame_count(336, 8000)) == (
        256,
        22,
        1,
        2,
    )


def test_mfccs_of_a_window_do_not_depend_on_the_others() -> None:
    loud = np.random.default_rng(0).standard_normal((1, 2000)).astype(np.float32)
    quiet = 1e-3 * np.roll(loud, 7)
    together = mfcc(np.concatenate([1e3 * loud, quiet]), 8000)  # 120 dB apart; librosa's own floor is 80 dB below
    np.testing.assert_allclose(together[1:], mfcc(quiet, 8000), atol=1e-3)


def test_mfccs_are_those_written_out_by_hand() -> None:
    """Slaney's mel scale is linear below 1,000 Hz, 66.67 Hz a mel, and logarithmic above, 27 mels to a factor 6.4."""
    window = levelled(sine(300, 8000, 256)[None].astype(np.float32) + sine(1700, 8000, 256).astype(np.float32))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    power = np.abs(np.fft.rfft(window[0] * hann)) ** 2
    highest = 15 + 27 * np.log(4.0) / np.log(6.4)
    mels = np.linspace(0, highest, 28)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    bins = np.arange(129) * 8000 / 256
    rows = []
    for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
        triangle = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clip(0)
        rows.append(triangle * 2 / (high - low))
    decibels = 10 * np.log10(np.maximum(np.array(rows) @ power, 1e-6))
    expected = scipy.fft.dct(decibels, norm="ortho")[:13]
    np.testing.assert_allclose(mfcc(window, 8000)[0, 0], expected, rtol=1e-4, atol=1e-3)


def test_each_frame_begins_one_hop_after_the_one_before() -> None:
    window = levelled(np.random.default_rng(0).standard_normal((2, 256 + 3 * 80)).astype(np.float32))
    together = mfcc(window, 8000)
    for frame in range(4):
        alone = mfcc(window[:, 80 * frame : 80 * frame + 256], 8000)
        np.testing.assert_allclose(together[:, frame], alone[:, 0], rtol=1e-4, atol=1e-3)
