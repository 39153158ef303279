"""Time of a training step on a GPU: PyTorch's launches, and the same step recorded as a CUDA graph.

Both train from the same weights on the same batches, so that their losses must agree. A recorded step has been compared
with PyTorch's before, see `drnn_deploy.training.recorded_step`. TF32 is off.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import torch

from benchmarks.gpu.plan import Rows, Setting
from benchmarks.gpu.timing import Call, timed
from benchmarks.networks import STEPS
from drnn_core.errors import RuntimeUnavailableError
from drnn_deploy.training.recipe import load_recipe
from drnn_deploy.training.step import take_step
from drnn_deploy.training.training_run import TrainingRun

_KERNELS = {"kernels": "torch", "graph": "graph"}
_STEPS_BEFORE = 5  # of which the fourth is recorded and compared
_TOLERANCE = 1e-3  # of the loss after these steps, relative
_RECIPE = (f"data.delay={STEPS - 20}", "training.batch=128", f"model.hidden={[20] * 9}")  # a task without files


def steps(setting: Setting, cell: str, way: str) -> Rows:
    """Milliseconds of a step of nine layers of twenty units, batch 128, over STEPS steps."""
    if setting.device != "cuda":
        raise RuntimeUnavailableError("CUDA graphs need CUDA")
    calls: dict[str, Call] = {}
    losses: dict[str, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # a step that is not recorded, with the reason
        for name, kernel in _KERNELS.items():
            recipe = load_recipe("copy-memory", None, [*_RECIPE, f"model.cell={cell}", f"training.kernel={kernel}"])
            run = TrainingRun.start(recipe, setting.device)
            step = functools.partial(take_step, run, recipe.make_task())
            for run.iteration in range(_STEPS_BEFORE):
                losses[name] = float(step())
            calls[name] = functools.partial(_finished, step)
    loss, recorded = losses.values()
    if not abs(recorded - loss) <= _TOLERANCE * abs(loss):
        return {"status": "failed", "reason": f"the loss is {recorded} where PyTorch has {loss}"}
    yield {"batch": recipe.training.batch, "steps": recipe.make_task().length, **timed(setting, calls)}
    return {"status": "ok"}


def _finished(step: Callable[[], torch.Tensor]) -> None:
    """A step, to its end: reading the loss waits for the GPU."""
    float(step())
