"""Send a sequence to Triton in chunks; the server keeps its state.

    drnn-export model.pt --form chunk --batch dynamic --no-ring --triton models
    tritonserver --model-repository models
    pip install 'tritonclient[grpc]'
    python client.py localhost:8001 model samples.npy

samples.npy holds (steps, features) float32, or (steps,) int64 tokens. The outputs are printed, one line a step.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput


def answers(client: InferenceServerClient, model: str, samples: np.ndarray, sequence: int) -> Iterator[np.ndarray]:
    """Feed one sequence.

    Args:
        client: A connection to the server.
        model: The model's name in the repository.
        samples: (steps, features) float32, or (steps,) int64; what fills no chunk at the end is left out.
        sequence: A number above 0 that no other client uses at the same time.

    Yields:
        The outputs (steps of a chunk, outputs) of each chunk.
    """
    described = client.get_model_metadata(model).inputs[0]
    chunk = int(described.shape[1])  # behind the batch
    starts = range(0, len(samples) - chunk + 1, chunk)
    for start in starts:
        piece = samples[None, start : start + chunk]
        given = InferInput(described.name, list(piece.shape), described.datatype)
        given.set_data_from_numpy(np.ascontiguousarray(piece))
        result = client.infer(
            model,
            [given],
            sequence_id=sequence,
            sequence_start=start == 0,
            sequence_end=start == starts[-1],
        )
        yield result.as_numpy("output")[0]


def main() -> None:
    """Send the file, and print what comes back."""
    url, model, file = sys.argv[1:]
    with InferenceServerClient(url) as client:
        for outputs in answers(client, model, np.load(file), sequence=1):
            for row in np.atleast_2d(outputs):
                print(" ".join(f"{value:.6g}" for value in row))


if __name__ == "__main__":
    main()
