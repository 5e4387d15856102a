"""Tasks by name. A new task is a file with a line here, or an entry point of another package."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from raytune_ocr.config.metrics import KHMER_DIGITS
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.plugins import Registry
from raytune_ocr.tasks.base import Task

TASKS: Registry[type[Task]] = Registry(
    "task",
    "raytune_ocr.tasks",
    {
        "reader": "raytune_ocr.tasks.reader:ReaderTask",
        "classifier": "raytune_ocr.tasks.classifier:ClassifierTask",
    },
)
GENERAL_TARGETS = {
    "training_time_per_epoch": "train_time_per_epoch",
    "convergence_epochs": "best_epoch",
}
"""Goals of any task, with the key of a result that each is compared with; lower is better."""


@cache
def task_named(name: str) -> Task:
    """Return the task of that name.

    Raises:
        ConfigurationError: for an unknown name.
    """
    return TASKS[name]()


def task_of(config: TrainingConfig) -> Task:
    """Return the task that a config trains."""
    return task_named("reader" if config.dataset_name == KHMER_DIGITS else "classifier")


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
