"""The paper's tasks, by name."""

from drnn_deploy.tasks.registry import TASKS, make_task, task_of
from drnn_deploy.tasks.task import IGNORED, Batch, Score, Task, TextTask, fits, metric_names

__all__ = ["IGNORED", "TASKS", "Batch", "Score", "Task", "TextTask", "fits", "make_task", "metric_names", "task_of"]
