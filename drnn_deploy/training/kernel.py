"""What computes a training's steps: torch; on a CPU the compiled kernel for layers; on a GPU a CUDA graph of a step."""

from __future__ import annotations

from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_deploy.training.ranks import processes_of_torchrun
from drnn_deploy.training.recipe import Recipe
from drnn_models.baseline_modules import Network
from drnn_models.dilated_rnn import DilatedRNN
from drnn_runtimes.native.compiler import load_recurrence
from drnn_runtimes.native.recurrence import WIDEST, run_layer

_FIX = "Leave it out: what wins on the device is chosen."


def choose_kernel(recipe: Recipe, model: Network, device: str) -> str:
    """Make a network compute its layers with what its recipe asks for.

    Args:
        recipe: Its recipe.
        model: The network, which it changes.
        device: "cpu" or "cuda".

    Returns:
        "native", "graph" or "torch".

    Raises:
        InputError: The recipe asks for "native" or "graph", which cannot be.
    """
    asked = recipe.training.kernel
    if asked == "torch":
        return "torch"
    refusals = {"native": _no_native, "graph": _no_graph}
    for kernel in refusals if asked == "auto" else (asked,):
        reason, fix = refusals[kernel](recipe, model, device)
        if reason and asked == kernel:
            raise InputError(f"training.kernel={kernel}: {reason}", fix)
        if reason:
            continue
        if kernel == "native" and isinstance(model, DilatedRNN):
            model.call_layer = run_layer
        return kernel
    return "torch"


def _no_native(recipe: Recipe, model: Network, device: str) -> tuple[str, str]:
    """Why the compiled kernel is of no use, and what to do; or nothing."""
    if device != "cpu" or recipe.training.precision != "fp32":
        return "it computes in float32 on a CPU", _FIX
    if not isinstance(model, DilatedRNN):
        return "it computes dilated recurrent networks alone", _FIX
    if max(model.spec.hidden) > WIDEST:
        return f"it computes layers of at most {WIDEST} units", _FIX
    try:
        load_recurrence()
    except RuntimeUnavailableError as error:
        return error.message.removeprefix("native: "), error.fix
    return "", ""


def _no_graph(recipe: Recipe, model: Network, device: str) -> tuple[str, str]:
    """Why steps cannot be recorded as a CUDA graph, and what to do; or nothing."""
    if device != "cuda":
        return "it is for a GPU", _FIX
    if recipe.training.carried_state or recipe.training.dropout:
        return "a graph repeats one step, and carried state and dropout are others in each", _FIX
    if processes_of_torchrun() > 1:
        return "it is for one process, and torchrun started more", _FIX
    return "", ""
