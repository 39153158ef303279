"""Train a network that hears two words in an endless sound, and write model.pt: python train.py

The words are made up, so that this runs anywhere: "up" is a rising tone of 0.3 s, "down" a falling one. With recordings
of your own, change `sound`, which gives the samples and for each frame what was said by then.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from features import BANDS, FRAME, RATE, frames

from drnn_models import Checkpoint, Continuous, DilatedRNN, Examples, Head, ModelSpec, save_checkpoint

WORDS = ("nothing", "up", "down")
LENGTH = 100  # frames of a training sequence: a second
HEARD = 8  # frames after its end in which the network is to name a word


def sound(seconds: float, words: list[int], draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noise with words in it, one in each part of equal length.

    Args:
        seconds: How long.
        words: Which words, as places in `WORDS`; 0 is a part without one.
        draw: Where chance comes from.

    Returns:
        Samples (n,) float32, and the class of each frame (n / FRAME,) int64.
    """
    samples = 0.05 * draw.standard_normal(int(seconds * RATE))
    labels = np.zeros(len(samples) // FRAME, np.int64)
    part, length = len(samples) // max(1, len(words)), int(0.3 * RATE)
    for number, word in enumerate(words):
        if word:
            start = number * part + int(draw.integers(0, part - length - HEARD * FRAME))
            low, high = draw.uniform(400, 700), draw.uniform(1500, 2200)
            pitch = np.linspace(*((low, high) if word == 1 else (high, low)), length)
            samples[start : start + length] += 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE)
            end = (start + length) // FRAME
            labels[end : end + HEARD] = word
    return samples.astype(np.float32), labels


def batch(count: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Frames (count, LENGTH, BANDS) float32, and classes (count, LENGTH) int64."""
    made = [sound(LENGTH * FRAME / RATE, [int(draw.integers(0, 3))], draw) for _ in range(count)]
    return np.stack([frames(samples) for samples, _ in made]), np.stack([labels for _, labels in made])


def main(iterations: int = 150) -> None:
    """Train, and write model.pt with a few examples."""
    draw = np.random.default_rng(0)
    torch.manual_seed(0)
    spec = ModelSpec("gru", (24, 24, 24), (1, 2, 4), Continuous(BANDS), Head("sequence", len(WORDS)))
    model = DilatedRNN(spec)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for iteration in range(iterations):
        inputs, labels = map(torch.from_numpy, batch(16, draw))
        loss = torch.nn.functional.cross_entropy(model(inputs).transpose(1, 2), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if iteration % 50 == 49:
            print(f"iteration {iteration + 1}: cross-entropy {loss.item():.3f}")
    weights = {name: value.numpy(force=True) for name, value in model.state_dict().items()}
    examples = Examples(*batch(4, draw), "words made by train.py")
    save_checkpoint(Path("model.pt"), Checkpoint(spec, weights, {"length": LENGTH}, examples=examples))


if __name__ == "__main__":
    main()
