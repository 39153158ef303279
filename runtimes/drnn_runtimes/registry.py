"""Every runtime, by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from drnn_core.arguments import checked_arguments
from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_core.text import choose_from
from drnn_runtimes.cuda_kernel.runtime import CudaKernelRuntime
from drnn_runtimes.native.runtime import NativeRuntime
from drnn_runtimes.onnxrt.runtime import OnnxRuntime
from drnn_runtimes.openvino import OpenVinoRuntime
from drnn_runtimes.reference.runtime import ReferenceRuntime
from drnn_runtimes.runtime import Runtime
from drnn_runtimes.torch import TorchRuntime
from drnn_runtimes.tract import TractRuntime
from drnn_runtimes.trt.runtime import TensorRTRuntime
from drnn_runtimes.trt_numpy.runtime import TensorRTNetworkRuntime

_ALL: tuple[Runtime, ...] = (
    ReferenceRuntime(),
    TorchRuntime("cpu"),
    TorchRuntime("cuda"),
    OnnxRuntime("cpu"),
    OnnxRuntime("cuda"),
    OnnxRuntime("tensorrt"),
    NativeRuntime(),
    OpenVinoRuntime(),
    TractRuntime(),
    TensorRTNetworkRuntime(),
    CudaKernelRuntime(),
    TensorRTRuntime("tensorrt"),
    TensorRTRuntime("tensorrt-rtx"),
)
RUNTIMES = {runtime.name: runtime for runtime in _ALL}


@checked_arguments
def find_runtime(name: str) -> Runtime:
    """The runtime called `name`.

    Raises:
        InputError: There is none.
    """
    if name not in RUNTIMES:
        raise InputError(f"there is no runtime {name!r}", choose_from(name, RUNTIMES))
    return RUNTIMES[name]


def chosen_runtime(name: str, threads: int | None = None) -> Runtime:
    """The runtime called `name`, with so many threads.

    Args:
        name: One of `RUNTIMES`.
        threads: Threads of a run; None for its default.

    Raises:
        InputError: There is none, it has no setting for threads, or they are no count.
    """
    return with_threads([find_runtime(name)], threads, [name])[0]


def with_threads(runtimes: Sequence[Runtime], threads: int | None, named: Collection[str] = ()) -> list[Runtime]:
    """The runtimes, with so many threads where they have a setting for that.

    Args:
        runtimes: Any.
        threads: Threads of a run; None for their defaults.
        named: Those that were asked for by name, each of which must have the setting.

    Raises:
        InputError: One of `named`, or none at all, has a setting for threads, or they are no count.
    """
    if threads is None:
        return list(runtimes)
    without = [runtime.name for runtime in runtimes if not runtime.has_threads]
    if odd := [name for name in without if name in named or len(without) == len(runtimes)]:
        having = ", ".join(name for name, runtime in RUNTIMES.items() if runtime.has_threads)
        raise InputError(f"{odd[0]} has no setting for its threads", f"Leave threads out; these have one: {having}.")
    return [runtime.with_threads(threads) if runtime.has_threads else runtime for runtime in runtimes]


@checked_arguments
def require(names: Sequence[str]) -> list[Runtime]:
    """The runtimes asked for, all usable here.

    Raises:
        InputError: A name is unknown.
        RuntimeUnavailableError: A runtime cannot run on this machine.
    """
    runtimes = [find_runtime(name) for name in names]
    for runtime in runtimes:
        available = runtime.availability()
        if not available.usable:
            raise RuntimeUnavailableError(f"{runtime.name} cannot run here: {available.detail}", available.fix)
    return runtimes
