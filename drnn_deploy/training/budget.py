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


def most_seconds(allowed: float) -> float:
    """The longest that a training of so many seconds takes: it ends after a step, and perhaps a validation.

    Args:
        allowed: The time of another run, which is its budget.
    """
    return 1.05 * allowed + 60


def shortfall(result: Result, recipe: Recipe, other: Result | None = None) -> str:
    """What a result lacks, in words; "" where it has its whole budget and no more.

    It has it if all iterations are taken, if its goal is reached, or if the time of another run was its budget and that
    is used up.

    Args:
        result: What the training left.
        recipe: What was planned.
        other: The result of the run whose time is its budget, where there is one.
    """
    planned = recipe.training.iterations
    if solved(result, recipe) or result.iterations == planned:
        return ""
    if result.iterations > planned:
        return f"{result.iterations:,} iterations in place of {planned:,}"
    in_time = other and other.seconds <= result.seconds <= most_seconds(other.seconds)
    if other and in_time and (result.seconds_allowed, result.device) == (other.seconds, other.device):
        return ""
    return f"{result.iterations:,} of {planned:,} iterations"
