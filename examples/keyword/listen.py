"""Name the words in a sound as they are said. Raw PCM comes in, one line for each word goes out:

    arecord -q -t raw -f S16_LE -r 8000 -c 1 | python listen.py bundle

A device needs this file, features.py, the bundle, and drnn-deploy without extras.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from features import FRAME, RATE, frames

from drnn_runtimes import Bundle, Stream, find_runtime

WORDS = ("nothing", "up", "down")
SURE = 0.8  # probability from which a word counts
DEAF = 20  # frames after a word in which no other can be said


def listen(stream: Stream, pcm: BinaryIO) -> Iterator[tuple[float, str]]:
    """Feed a stream.

    Args:
        stream: An open stream of batch 1.
        pcm: Little-endian 16-bit samples of one channel.

    Yields:
        The second and the word.
    """
    heard, said = 0, -DEAF
    while block := pcm.read(2 * 4 * FRAME):  # 40 ms
        samples = np.frombuffer(block[: len(block) // 2 * 2], "<i2").astype(np.float32) / 32768
        answers = stream.push(frames(samples)[None])[0]
        for scores in answers:
            heard += 1
            odds = np.exp(scores - scores.max())
            word = int(odds[1:].argmax()) + 1
            if odds[word] / odds.sum() > SURE and heard - said > DEAF:
                said = heard
                yield heard * FRAME / RATE, WORDS[word]


def main() -> None:
    """Listen to standard input until it ends."""
    bundle = Bundle.open(Path(sys.argv[1]))
    with find_runtime("onnxruntime-cpu").stream(bundle) as stream:
        for second, word in listen(stream, sys.stdin.buffer):
            print(f"{second:7.2f} s  {word}", flush=True)


if __name__ == "__main__":
    main()
