"""How large an error may be: a multiple of measured noise, with its derivation, or what the user says.

`noise` is what rounding to a precision does to this network on these inputs (`drnn_runtimes.reference.noise`). So it is
another for every network, precision, length and kind of input, and for every output and step.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from drnn_core.arguments import checked_fields
from drnn_core.errors import InputError
from drnn_runtimes.bundle import GoldenCase

# Over 2,100 networks, 100 of them of 1,000 to 4,000 steps, the errors of ONNX Runtime, fused and unrolled, and of torch
# are under `USUAL` noises in 99 % of the cases and at most `LARGEST` (tests/drnn_deploy/parity/test_false_alarms.py).
# GPUs may round worse than that.
USUAL, LARGEST = 1.5, 3.8
NOISE_MULTIPLE = 8.0
_WHY = (
    "over 2,100 networks of up to 4,000 steps errors of ONNX Runtime and torch are "
    f"under {USUAL} in 99 % of the cases and at most {LARGEST}"
)


@checked_fields
@dataclasses.dataclass(frozen=True)
class Tolerance:
    """What passes: an error of at most `noise_multiple` noises or, with `atol` or `rtol`, of atol + rtol * scale.

    Attributes:
        noise_multiple: The largest error that passes, in units of noise.
        atol: The largest absolute error that passes, in place of the noise.
        rtol: What is added to it, as a share of the scale: the largest |output| of the reference on the same inputs.

    Raises:
        InputError: A value is not finite, negative, or zero where that lets nothing pass.
    """

    noise_multiple: float = NOISE_MULTIPLE
    atol: float | None = None
    rtol: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.noise_multiple < math.inf:
            what = "the largest error to pass must be a positive number of units of noise"
            raise InputError(f"{what}, got {self.noise_multiple}", f"Type --max-noise {NOISE_MULTIPLE:g}, or leave it.")
        for name, value in (("atol", self.atol), ("rtol", self.rtol)):
            if value is not None and not 0 <= value < math.inf:
                raise InputError(f"{name} must be a number from 0 up, got {value}", f"Type for example --{name} 1e-4.")

    @property
    def by_noise(self) -> bool:
        """Whether the noise decides; otherwise `atol` and `rtol` do."""
        return self.atol is None and self.rtol is None

    def limit(self, case: GoldenCase) -> NDArray[np.float64]:
        """The largest absolute error that passes on a case; its noise must be that of the graph's precision.

        Returns:
            Of each output of a sequence, or one for all: the shape of the noise.
        """
        if self.by_noise:
            return self.noise_multiple * np.asarray(case.noise)
        scale = float(np.abs(case.outputs).max(initial=0.0))
        return np.asarray((self.atol or 0.0) + (self.rtol or 0.0) * scale)

    @property
    def options(self) -> list[str]:
        """The options of `drnn-parity` that say the same."""
        noise = [f"--max-noise {self.noise_multiple:g}"] if self.noise_multiple != NOISE_MULTIPLE else []
        given = (("atol", self.atol), ("rtol", self.rtol))
        return noise if self.by_noise else [f"--{name} {value:g}" for name, value in given if value is not None]

    @property
    def rule(self) -> str:
        """The rule in words."""
        if self.by_noise:
            reason = _WHY if self.noise_multiple == NOISE_MULTIPLE else "as asked for"
            return f"an error of up to {self.noise_multiple:g} x noise passes ({reason})"
        given = [f"{name} {value:g}" for name, value in (("atol", self.atol), ("rtol", self.rtol)) if value is not None]
        return f"an error of up to {' + '.join(given)}{' x largest |output|' if self.rtol else ''} passes, as asked for"


DEFAULT = Tolerance()
