"""The picture of a training: loss over iterations, with validation and the level of guessing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from drnn_core.files import replacing
from drnn_deploy.tasks import Task
from drnn_deploy.training.training_run import Progress


def draw_curve(path: Path, log: Sequence[Progress], task: Task) -> None:
    """Write a PNG of cross-entropy (logarithmic) and validation accuracy against iterations.

    Args:
        path: The PNG file to write.
        log: Cross-entropies in nats.
        task: Its classes give the level of guessing.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    loss = figure.subplots()
    loss.plot([p.iteration for p in log], [p.loss for p in log], linewidth=0.8, label="training")
    checked = [(p.iteration, p.validation) for p in log if p.validation]
    loss.plot([i for i, _ in checked], [v["cross_entropy"] for _, v in checked], marker=".", label="validation")
    loss.axhline(math.log(task.classes), color="grey", linestyle=":", label=f"guessing, ln {task.classes}")
    loss.set(xlabel="iteration", ylabel="cross-entropy, nats", yscale="log", title=f"{task.name}, {task.length} steps")
    accuracy = loss.twinx()
    accuracy.plot([i for i, _ in checked], [v["accuracy"] for _, v in checked], color="tab:green", label="accuracy")
    accuracy.set(ylabel="validation accuracy", ylim=(0, 1))
    figure.legend(loc="outside lower center", ncols=4)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
