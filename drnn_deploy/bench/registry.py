"""Every contender, by name."""

from __future__ import annotations

from collections.abc import Sequence

from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.text import choose_from
from drnn_deploy.bench.contender import Contender, RuntimeContender
from drnn_deploy.bench.gauges import IdleLoop, MatrixProduct
from drnn_deploy.bench.torch_contenders import TorchCompile, TorchEager, TorchOnnx
from drnn_runtimes.registry import RUNTIMES

_CHECKERS = ("reference", "tensorrt-network")  # which nobody runs for speed
_ALL: tuple[Contender, ...] = (
    *(RuntimeContender(runtime) for name, runtime in RUNTIMES.items() if name not in _CHECKERS),
    TorchEager(),
    TorchCompile(),
    TorchOnnx(),
)
CONTENDERS: dict[str, Contender] = {contender.name: contender for contender in _ALL}
GAUGES: dict[str, Contender] = {gauge.name: gauge for gauge in (IdleLoop(), MatrixProduct())}


def choose(names: Sequence[str]) -> list[Contender]:
    """The contenders of these names, which must be usable here; of no names, all.

    Args:
        names: From `CONTENDERS`.

    Raises:
        InputError: A name is unknown.
        RuntimeUnavailableError: One cannot run on this machine.
    """
    for name in names:
        if name not in CONTENDERS:
            raise InputError(f"there is no contender {name!r}", choose_from(name, CONTENDERS))
        available = CONTENDERS[name].availability()
        if not available.usable:
            raise RuntimeUnavailableError(f"{name} cannot run here: {available.detail}", available.fix)
    return [contender for name, contender in CONTENDERS.items() if not names or name in names]
