"""Whether a result had what was planned for it: a network that got less says so, and decides nothing."""

from __future__ import annotations

from drnn_deploy.training.recipe import Recipe
from drnn_deploy.training.results import Result


def solved(result: Result, recipe: Recipe) -> bool:
    """Whether the training ended early because it reached its goal.

    Args:
        result: What it left.
        recipe: Its recipe.
    """
    return recipe.training.is_solved(result.log[-1]["validation"] if result.log else None)


def shortfall(result: Result, recipe: Recipe | None) -> str:
    """What a result lacks, in words; "" where it has its whole budget.

    It has it if all iterations are taken, if its goal is reached, or if the time of another run was its budget and that
    is used up.

    Args:
        result: What the training left.
        recipe: What was planned; None of what is no network.
    """
    if recipe is None or result.iterations >= recipe.training.iterations or solved(result, recipe):
        return ""
    if result.seconds_allowed is not None and result.seconds >= result.seconds_allowed:
        return ""
    return f"{result.iterations:,} of {recipe.training.iterations:,} iterations"
