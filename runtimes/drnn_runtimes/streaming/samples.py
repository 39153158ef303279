"""What a stream looks at in samples before it takes them in, within the cost of a step of microseconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drnn_core.errors import InputError
from drnn_models.spec import Tokens
from drnn_runtimes.bundle import Bundle, GraphInfo
from drnn_runtimes.session import beyond_range, check_tokens

_FEW = 16  # samples that Python checks faster than NumPy
TOGETHER = 256  # steps that are checked together where a chunk is one


class SampleChecks:
    """The checks of one stream. They keep their scratch memory: one thread at a time."""

    def __init__(self, bundle: Bundle, graph: GraphInfo, chunk: NDArray[np.generic]) -> None:
        """Prepare.

        Args:
            bundle: The graph's bundle.
            graph: The graph that the stream runs.
            chunk: Samples of the stream's batch, of the graph's type.
        """
        options = bundle.task.get("options")
        self._rate = options.get("rate") if isinstance(options, dict) else None
        self._graph, self._shape, self._dtype = graph, chunk.shape, chunk.dtype
        steps = TOGETHER if graph.steps == 1 else graph.steps
        self._sizes = np.zeros((chunk.shape[0], steps, *chunk.shape[2:]), chunk.dtype)
        self._range = float(np.float32(graph.range))
        self._vocabulary = bundle.spec.input.vocabulary if isinstance(bundle.spec.input, Tokens) else 0

    def check(self, samples: NDArray[np.generic], rate: int | None) -> None:
        """Refuse samples that the stream cannot take.

        Args:
            samples: What was given for (B, k, C) or tokens (B, k).
            rate: What was given for their rate in Hz.

        Raises:
            InputError: Type, shape, rate or a value does not fit.
        """
        shape, dtype = self._shape, self._dtype
        if not isinstance(samples, np.ndarray):
            what = f"samples must be an array, got {type(samples).__name__}"
            raise InputError(what, f"Make it: numpy.asarray(samples, {dtype.name!r}).")
        if rate is not None and type(rate) is not int:
            raise InputError(f"rate must be a whole number of samples a second, got {rate!r:.80}", "Give a number.")
        given = samples.shape
        if (
            samples.dtype != dtype
            or (
                given != shape  # a chunk at a time is what a stream gets most
                and (len(given) != len(shape) or given[0] != shape[0] or given[2:] != shape[2:])
            )
        ):
            wanted = ", ".join(map(str, (shape[0], "k", *shape[2:])))
            what = f"samples must be {dtype} ({wanted}), got {samples.dtype} {given}"
            fix = f"Make it: numpy.asarray(samples, {dtype.name!r}); of one sequence samples[None]."
            raise InputError(what, fix)
        if rate is not None and self._rate is not None and rate != self._rate:
            raise InputError(f"the network takes {self._rate} samples a second, got {rate}", "Resample first.")
        if self._vocabulary:
            check_tokens(samples, self._vocabulary)
        elif not self._within_range(samples):
            raise beyond_range(self._graph, "samples", samples, self._graph.range)

    def _within_range(self, samples: NDArray[np.generic]) -> bool:
        """Whether all are numbers that the graph takes: one pass also finds NaN, which is not below anything."""
        if samples.size <= _FEW:
            return all(-self._range <= value <= self._range for value in samples.ravel().tolist())
        steps, count = self._sizes.shape[1], samples.shape[1]
        for start in range(0, count, steps):
            sizes = self._sizes[:, : min(steps, count - start)]
            if not np.abs(samples[:, start : start + steps], out=sizes).max() <= self._range:
                return False
        return True
