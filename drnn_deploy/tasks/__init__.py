"""The paper's tasks, by name."""

from drnn_deploy.tasks.registry import TASKS, make_task, task_of
from drnn_deploy.tasks.task import IGNORED, Batch, Score, Task, fits

__all__ = ["IGNORED", "TASKS", "Batch", "Score", "Task", "fits", "make_task", "task_of"]
