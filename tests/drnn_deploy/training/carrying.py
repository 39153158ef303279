"""A tiny recipe that carries its state, and one that drops values as well."""

from __future__ import annotations

from drnn_deploy.training.recipe import Recipe, load_recipe

TINY = (
    "data.length=7", "data.context=3", "model.hidden=[5,4]", "model.dilations=[1,3]", "training.batch=5",
    "training.iterations=30", "training.evaluate_every=20", "training.carried_state=true",
)  # fmt: skip
BOTH = "training.dropout=0.3"


def recipe_of(*changes: str) -> Recipe:
    return load_recipe("ptb-char", None, [*TINY, *changes])
