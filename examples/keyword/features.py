"""What the network hears: 16 bands of each 10 ms of sound, the same in training and on the device. Needs NumPy only."""

from __future__ import annotations

import numpy as np

RATE = 8000  # samples a second
FRAME = 80  # samples: 10 ms
BANDS = 16


def frames(samples: np.ndarray) -> np.ndarray:
    """Cut sound into frames.

    Args:
        samples: (n,) float32 from -1 to 1; what fills no frame at the end is left out.

    Returns:
        (n // FRAME, BANDS) float32: the logarithm of each band's energy, about 0 in a quiet room.
    """
    whole = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    energies = np.abs(np.fft.rfft(whole * np.hanning(FRAME), axis=-1)[:, 1:]) ** 2  # 40 of them
    edges = np.linspace(0, energies.shape[-1], BANDS + 1).astype(int)[:-1]
    return (np.log(np.add.reduceat(energies, edges, axis=-1) + 1e-3) / 4).astype(np.float32)
