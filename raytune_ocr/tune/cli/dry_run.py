"""What would run, as text: `--list` and `--dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.yaml_files import to_yaml
from raytune_ocr.tune.options import TuneOptions, check_comparable
from raytune_ocr.tune.registries import SCHEDULERS
from raytune_ocr.tune.schedulers.base import Setup
from raytune_ocr.tune.space.experiment import Experiment, Point
from raytune_ocr.tune.tuner import HyperparameterTuner


def list_experiments(tuner: HyperparameterTuner, names: Sequence[str] | None) -> str:
    """One line a preset; of a search one for each of its domains."""
    space = tuner.space(names)
    return "\n".join(
        search_lines(experiment, len(space.points[name]))
        if experiment.is_search
        else config_line(name, space.points[name][0].config)
        for name, experiment in space.experiments.items()
    )


def config_line(name: str, c: TrainingConfig) -> str:
    """What matters most of a config."""
    return (
        f"{name:<24} {c.model_name:<11} {c.loss_type:<13} {c.optimizer_type:<6} "
        f"{c.scheduler_type:<8} batch {c.batch_size:<4} lr {c.learning_rate:<8g} "
        f"{c.num_epochs} epochs"
    )


def search_lines(experiment: Experiment, trials: int) -> str:
    """Its name and size, then its domains."""
    lines = [f"{experiment.name:<24} a search of {trials} trials"]
    for name, domain in experiment.domains.items():
        needs = "; ".join(
            f"{other} is {' or '.join(map(str, values))}" for other, values in domain.when
        )
        lines.append(f"  {name:<22} {domain}{f'  where {needs}' if needs else ''}")
    return "\n".join(lines)


def dry_run(tuner: HyperparameterTuner, names: Sequence[str] | None) -> str:
    """What would run: configs, epochs, rungs, resources, as YAML; no trial that is known."""
    space = tuner.space(names)
    known = tuner.known(space)
    drawn = {
        name: list(experiment.points(space.seed, known.skip))
        for name, experiment in space.experiments.items()
    }
    each = ((name, point.config) for name, points in drawn.items() for point in points)
    check_comparable(each, tuner.options.scheduler)
    if not any(drawn.values()):
        return f"# {known.told_of(space)}"
    blocks = []
    left = tuner.options.max_trials
    for name, points in drawn.items():
        experiment = space.experiments[name]
        if experiment.is_search and tuner.options.search == "optuna":
            blocks.append(f"# {name}: drawn one by one; these are as the first may be")
        for point in points[:left]:
            plan = {point.name: trial_plan(experiment, point, tuner.options)}
            blocks.append(to_yaml(plan))
        left = None if left is None else max(0, left - len(points))
    return "\n".join(blocks)


def trial_plan(experiment: Experiment, point: Point, options: TuneOptions) -> dict[str, Any]:
    """What one trial would do."""
    epochs, asked = point.config.num_epochs, experiment.resources
    setup = Setup(options.grace_period, options.reduction_factor, epochs)
    gpus = options.gpus_per_trial if asked.gpus is None else asked.gpus
    plan: dict[str, Any] = {
        "epochs": epochs,
        "rungs": SCHEDULERS[options.scheduler](setup).rungs,
        "cpus": (options.cpus_per_trial or 1.0) if asked.cpus is None else asked.cpus,
        "gpus": "0.25 if there is one" if gpus is None else gpus,
    }
    if asked.memory:
        plan["memory"] = asked.memory
    if point.values:
        plan["sampled"] = dict(point.values)
    return {**plan, "config": point.config.to_dict()}
