"""What a stream remembers, as a value and as a file: the same whatever runtime, chunk length or form it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_core.npz import reading_npz, write_npz

FORMAT = "drnn-deploy-stream/1"
_AGAIN = "Start anew, or save it again."


@dataclasses.dataclass(frozen=True)
class StreamState:
    """What a stream remembers.

    Attributes:
        model: The fingerprint of the network.
        steps: Steps computed so far.
        waiting: Samples (B, k, ...) that fill no chunk yet.
        lines: Name of `ModelSpec.state_shapes` -> delay line (B, d, H) float32, oldest first. A stream with a delay has
            its layers at different steps, and packed states of other names that only such streams take.
    """

    model: str
    steps: int
    waiting: NDArray[np.generic]
    lines: dict[str, NDArray[np.generic]]

    def check(self, model: str, shapes: Mapping[str, tuple[int, ...]], batch: int) -> None:
        """Check that a stream can go on from the state.

        Args:
            model: The fingerprint of the stream's network.
            shapes: Name -> shape, of its delay lines.
            batch: Its number of sequences.

        Raises:
            InputError: The state is of another network, batch or shape.
        """
        if self.model != model:
            raise InputError(
                "the state was saved with another model", "Use the bundle that it was saved with, or reset."
            )
        if len(self.waiting) != batch:
            raise InputError(f"the state is of a batch of {len(self.waiting)}, the stream has {batch}")
        if set(self.lines) != set(shapes):
            raise InputError(
                "one of the state and the stream is skewed, its layers at different steps, and the other is not",
                "Use the graph that the state was saved with, or reset.",
            )
        if {name: line.shape for name, line in self.lines.items()} != shapes:
            raise InputError("the state's delay lines have other shapes than the model's", "Save it again.")

    def save(self, path: Path) -> None:
        """Write it to `path`, whole or not at all.

        Raises:
            InputError: The file cannot be written.
        """
        about = {"format": FORMAT, "model": self.model, "steps": self.steps, "lines": list(self.lines)}
        lines = {f"line_{name}": line for name, line in self.lines.items()}
        write_npz(path, about, {"waiting": self.waiting, **lines}, compress=False)

    @classmethod
    def load(cls, path: Path) -> StreamState:
        """Read the file of `save`.

        Raises:
            InputError: The file is anything else.
        """
        with reading_npz(path, f"{path} cannot be read as a stream's state", _AGAIN, format=FORMAT) as (about, arrays):
            lines = {str(name): arrays[f"line_{name}"] for name in about["lines"]}
            state = cls(str(about["model"]), int(about["steps"]), arrays["waiting"], lines)
        if not all(line.dtype == np.float32 and np.isfinite(line).all() for line in state.lines.values()):
            raise InputError(f"{path} holds a state that is not finite float32", _AGAIN)
        return state
