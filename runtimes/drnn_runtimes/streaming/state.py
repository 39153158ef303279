"""What a stream remembers, as a value and as a file: the same whatever runtime, chunk length or form it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drnn_core import bounds
from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError
from drnn_core.npz import reading_npz, write_npz

FORMAT = "drnn-deploy-stream/1"
_STARTED = "started"  # of emission skewed, see `drnn_export.emitter.skew`: 1 for layers that are reached, else 0
_AGAIN = "Start anew, or from a state that was saved before."


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

    def check(self) -> None:
        """Check what is true of every state, of whatever network: `save` writes and `load` reads no other.

        Raises:
            InputError: A part has another type or number of axes, is not finite, or the steps are no count.
        """
        if not isinstance(self.model, str) or type(self.steps) is not int or not 0 <= self.steps < 1 << 63:
            raise InputError(f"the state's steps must be a count, got {self.steps!r:.80}", _AGAIN)
        if not (_is_array(self.waiting, np.float32, 3) or _is_array(self.waiting, np.int64, 2)):
            what = f"the state's waiting samples must be float32 (B, k, C) or int64 (B, k), got {_shown(self.waiting)}"
            raise InputError(what, _AGAIN)
        for name, line in self.lines.items():
            if name == _STARTED and not np.isin(line, (0, 1)).all():
                raise InputError("the state says of a layer that it has started by halves", _AGAIN)
            if not _is_array(line, np.float32, 3):
                what = f"the state's delay line {name!r:.80} must be float32 with three axes, got {_shown(line)}"
                raise InputError(what, _AGAIN)
        if not all(np.isfinite(values).all() for values in (self.waiting, *self.lines.values())):
            raise InputError("the state holds values that are not finite", _AGAIN)

    def check_for(self, model: str, shapes: Mapping[str, tuple[int, ...]], batch: int) -> None:
        """Check that a stream can go on from the state's delay lines.

        Args:
            model: The fingerprint of the stream's network.
            shapes: Name -> shape, of its delay lines.
            batch: Its number of sequences.

        Raises:
            InputError: `check` refuses the state, or it is of another network, batch or shape.
        """
        self.check()
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

    @checked_arguments
    def save(self, path: Path | str) -> None:
        """Write it to `path`, whole or not at all.

        Args:
            path: The file to write, usually `state.npz`.

        Raises:
            InputError: The file cannot be written, or `check` refuses the state.
        """
        self.check()
        about = {"format": FORMAT, "model": self.model, "steps": self.steps, "lines": list(self.lines)}
        lines = {f"line_{name}": line for name, line in self.lines.items()}
        write_npz(Path(path), about, {"waiting": self.waiting, **lines}, compress=False)

    @classmethod
    @checked_arguments
    def load(cls, path: Path | str, most: int = bounds.UNPACKED) -> StreamState:
        """Read the file of `save`.

        Args:
            path: The file.
            most: The most bytes that all arrays together may take.

        Raises:
            InputError: The file is anything else.
        """
        path = Path(path)
        refusal = f"{path} cannot be read as a stream's state"
        with reading_npz(path, refusal, _AGAIN, format=FORMAT, most=most) as (about, arrays):
            names = about["lines"]
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError("its lines are no names")
            lines = {name: arrays[f"line_{name}"] for name in names}
            state = cls(about["model"], about["steps"], arrays["waiting"], lines)
            state.check()
        return state


def _is_array(value: object, dtype: type[np.generic], axes: int) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == dtype and value.ndim == axes


def _shown(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
