"""Tasks by name. A new task is a file with a line here, or an entry point of another package."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache

from raytune_ocr.config.metrics import task_name
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.plugins import Home, Registry
from raytune_ocr.tasks.base import Task

TASKS: Registry[type[Task]] = Registry(
    "task",
    "raytune_ocr.tasks",
    {
        "reader": Home("raytune_ocr.tasks.reader:ReaderTask"),
        "classifier": Home("raytune_ocr.tasks.classifier:ClassifierTask"),
        "function": Home("raytune_ocr.tasks.function:FunctionTask"),
    },
)
GENERAL_TARGETS = {
    "training_time_per_epoch": "train_time_per_epoch",
    "convergence_epochs": "best_epoch",
}
"""Goals of any task, with the key of a result that each is compared with; lower is better."""


@cache
def task_named(name: str) -> Task:
    """Return the task of that name, or of a class `module:Class` in an imported module.

    Raises:
        ConfigurationError: for an unknown name.
    """
    module, separator, attribute = name.partition(":")
    kind = getattr(sys.modules.get(module), attribute, None) if separator else TASKS[name]
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise ConfigurationError(f"{name}: must be a subclass of raytune_ocr.tasks.Task")
    return kind()


def task_of(config: TrainingConfig) -> Task:
    """Return the task that a config trains.

    A journal may name a class of a module that is not imported here: then it is a task that only
    knows its metrics.
    """
    name = task_name(vars(config))
    module, separator, _ = name.partition(":")
    return Task() if separator and module not in sys.modules else task_named(name)


def all_tasks() -> list[Task]:
    """Return all tasks, the reader first."""
    return [task_named(name) for name in TASKS.names()]


def figure_names() -> list[str]:
    """Return the keys of results with metrics of the best epoch, in the order of ranking."""
    return [key for task in all_tasks() for key in task.figures]


def target_keys(tasks: Iterable[Task] | None = None) -> dict[str, str]:
    """Return the goals of these tasks (default: of all), each with the key of its result."""
    tasks = all_tasks() if tasks is None else tasks
    named = {name: key for task in tasks for name, key in task.targets.items()}
    return {**named, **GENERAL_TARGETS}


def target_metrics() -> dict[str, str]:
    """Return the names for `--target`, with the metric of an epoch that each is compared with."""
    metrics = {
        name: task.figures[key] for task in all_tasks() for name, key in task.targets.items()
    }
    validated = [name for task in all_tasks() for name in task.columns if name.startswith("val_")]
    return metrics | {name: name for name in validated}
