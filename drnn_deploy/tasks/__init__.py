"""The paper's tasks, by name."""

from drnn_deploy.tasks.registry import IGNORED, TASKS, Batch, Score, Task, fits, make_task

__all__ = ["IGNORED", "TASKS", "Batch", "Score", "Task", "fits", "make_task"]
