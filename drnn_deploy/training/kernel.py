"""Which kernel computes a training's recurrent layers: torch's, or on a CPU the compiled one."""

from __future__ import annotations

from drnn_core.errors import InputError, RuntimeUnavailableError
from drnn_deploy.training.recipe import Recipe
from drnn_models.baseline_modules import Network
from drnn_models.dilated_rnn import DilatedRNN
from drnn_runtimes.native.compiler import load_recurrence
from drnn_runtimes.native.recurrence import WIDEST, run_layer


def choose_kernel(recipe: Recipe, model: Network, device: str) -> str:
    """Make a network compute its layers with what its recipe asks for.

    Args:
        recipe: Its recipe.
        model: The network, which it changes.
        device: "cpu" or "cuda".

    Returns:
        "native" or "torch".

    Raises:
        InputError: The recipe asks for "native", which cannot be.
    """
    if recipe.training.kernel == "torch":
        return "torch"
    reason, fix = _refusal(recipe, model, device)
    if not reason and isinstance(model, DilatedRNN):
        model.call_layer = run_layer
        return "native"
    if recipe.training.kernel == "native":
        raise InputError(f"training.kernel=native: {reason}", fix)
    return "torch"


def _refusal(recipe: Recipe, model: Network, device: str) -> tuple[str, str]:
    """Why the compiled kernel is of no use, and what to do; or nothing."""
    fix = "Leave it out: what can be compiled is."
    if device != "cpu" or recipe.training.precision != "fp32":
        return "it computes in float32 on a CPU", fix
    if not isinstance(model, DilatedRNN):
        return "it computes dilated recurrent networks alone", fix
    if max(model.spec.hidden) > WIDEST:
        return f"it computes layers of at most {WIDEST} units", fix
    try:
        load_recurrence()
    except RuntimeUnavailableError as error:
        return error.message.removeprefix("native: "), error.fix
    return "", ""
