"""Print what would run: `--list` and `--dry-run`."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raytune_ocr.config.metrics import CLASSIFIER, READER, task_name
from raytune_ocr.config.settings import DEFAULT_METADATA_PATH, Settings
from raytune_ocr.config.training_config import TrainingConfig, data_key
from raytune_ocr.config.yaml_files import to_yaml, to_yaml_line
from raytune_ocr.data import DatasetRegistry
from raytune_ocr.errors import DataNotFoundError, RaytuneOCRError
from raytune_ocr.tasks.registry import task_of
from raytune_ocr.tune.chosen_options import check_comparable
from raytune_ocr.tune.cli.estimates import estimates
from raytune_ocr.tune.execution.planning import record_of, settle_scheduler
from raytune_ocr.tune.options import SHARED_GPU, TuneOptions
from raytune_ocr.tune.registries import SCHEDULERS, SEARCHERS
from raytune_ocr.tune.schedulers.base import Setup
from raytune_ocr.tune.search.plan import Plan
from raytune_ocr.tune.search.warm_start import Known, KnownPoints, read_known
from raytune_ocr.tune.space.devices import check_devices
from raytune_ocr.tune.space.experiment import Experiment, Point
from raytune_ocr.tune.tuner import HyperparameterTuner

EXAMPLES = 3
PAGE_WIDTH = 100
OF_EVERY_TRIAL = ("experiment_name", "output_dir", "early_stopping_mode")
"""Settings that always differ from their defaults and add no information."""


def list_experiments(tuner: HyperparameterTuner, names: Sequence[str] | None) -> str:
    """Return a line for each preset; for each search one line more for each of its domains."""
    space = tuner.space(names)
    lines = [
        search_lines(experiment, len(space.points[name]))
        if experiment.is_search
        else config_line(name, space.points[name][0].config)
        for name, experiment in space.experiments.items()
    ]
    return "\n".join(lines)


def config_line(name: str, c: TrainingConfig) -> str:
    """Return the main settings of a config in a line."""
    if task_name(vars(c)) not in (READER, CLASSIFIER):
        values = "  ".join(f"{key} {value}" for key, value in c.parameters.items())
        return f"{name:<24} {c.trainable or c.task}  {values}  {c.num_epochs} epochs"
    return (
        f"{name:<24} {c.model_name:<11} {c.loss_type:<13} {c.optimizer_type:<6} "
        f"{c.scheduler_type:<8} batch {c.batch_size:<4} lr {c.learning_rate:<8g} "
        f"{c.num_epochs} epochs"
    )


def search_lines(experiment: Experiment, trials: int) -> str:
    """Return the name and size of a search, then its domains."""
    wanted = experiment.size
    fewer = f" instead of {wanted}: there are no more distinct values" if trials < wanted else ""
    lines = [f"{experiment.name:<24} a search of {trials} trials{fewer}"]
    for name, domain in experiment.domains.items():
        needs = "; ".join(
            f"{other} is {' or '.join(map(str, values))}" for other, values in domain.when
        )
        lines.append(f"  {name:<22} {domain}{f'  when {needs}' if needs else ''}")
    return "\n".join(lines)


def dry_run(tuner: HyperparameterTuner, names: Sequence[str] | None, *, every: bool = False) -> str:
    """Return what would run, without trials that earlier results already have.

    Args:
        every: return every trial with its whole config as YAML, instead of a page of counts,
            ranges and examples.

    Raises:
        ConfigurationError, DataNotFoundError: the scheduler cannot compare the trials, or data or a
            device is missing.
    """
    space = tuner.space(names)
    known = tuner.known(space)
    plan = Plan(space, tuner.options.search, known, tuner.options.max_trials, record_of)
    options = settle_scheduler(plan, tuner.options)
    drawn = {
        name: list(experiment.points(space.seed, known.skip))
        for name, experiment in space.experiments.items()
    }
    if not any(drawn.values()):
        return f"# {known.summary(space)}"
    drawn = _first(drawn, options.max_trials)
    trials = [(space.experiments[name], point) for name in drawn for point in drawn[name]]
    check_comparable(((e.name, point.config) for e, point in trials), options.scheduler)
    check_devices(trials, options)
    check_data(point.config for _, point in trials)
    if every:
        return "\n".join(to_yaml({p.name: trial_plan(e, p, options)}) for e, p in trials)
    configs = [point.config for _, point in trials]
    expected = estimates(configs, options, space.prices, _earlier(tuner.output_dir, known))
    return _page(tuner.config_file, options, drawn, trials, expected)


def _earlier(folder: Path, known: KnownPoints) -> list[Known]:
    """The trials of the named sources, and of a run that the output folder has."""
    try:
        there = read_known([folder]).points
    except RaytuneOCRError:  # it has none
        there = []
    return [*known.points, *known.library, *there]


def _first(drawn: Mapping[str, list[Point]], most: int | None) -> dict[str, list[Point]]:
    """The first `most` points of all experiments."""
    left = sum(map(len, drawn.values())) if most is None else most
    kept = {}
    for name, points in drawn.items():
        kept[name] = points[:left]
        left -= len(kept[name])
    return kept


def _page(
    config_file: str,
    options: TuneOptions,
    drawn: Mapping[str, list[Point]],
    trials: Sequence[tuple[Experiment, Point]],
    expected: Sequence[str],
) -> str:
    """Counts, ranges, estimates and example trials."""
    experiments = {experiment.name: experiment for experiment, _ in trials}
    epochs = sum(point.config.num_epochs for _, point in trials)
    count = f"{len(experiments)} experiment{'s' * (len(experiments) > 1)}"
    lines = [
        f"# {config_file}: {len(trials)} trials of {count}, at most {epochs} epochs in all",
        f"# scheduler {options.scheduler}, search {options.search}",
    ]
    for name, experiment in experiments.items():
        if experiment.is_search:
            lines += [
                f"# {line}" for line in search_lines(experiment, len(drawn[name])).splitlines()
            ]
            if SEARCHERS[options.search].adaptive:
                lines.append(
                    "#   drawn one after another from results; these examples are random draws"
                )
        else:
            lines.append(f"# {config_line(name, drawn[name][0].config)}")
    lines += [
        line
        for text in expected
        for line in textwrap.wrap(
            text, PAGE_WIDTH, initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False
        )
    ]
    shown = trials[:EXAMPLES]
    what = "the trials" if len(shown) == len(trials) else f"{len(shown)} of {len(trials)} trials"
    lines.append(f"# {what}, with the settings that differ from the defaults (--all: everything)")
    for experiment, point in shown:
        lines += [f"{point.name}:", *_plan_lines(trial_plan(experiment, point, options))]
    return "\n".join(lines)


def _plan_lines(plan: dict[str, Any]) -> list[str]:
    """Return the plan of a trial as a few lines of YAML, without settings that are defaults."""
    defaults = vars(Settings()) | {name: plan["config"][name] for name in OF_EVERY_TRIAL}
    drawn = {name.partition(".")[0] for name in plan.get("sampled", ())}
    changed = {k: v for k, v in plan["config"].items() if k not in drawn and v != defaults[k]}
    return [
        line
        for key, value in {**plan, "config": changed}.items()
        for line in textwrap.wrap(
            f"  {key}: {to_yaml_line(value)}",
            PAGE_WIDTH,
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]


def check_data(configs: Iterable[TrainingConfig]) -> None:
    """Raise DataLoaderError for data that is missing or that its dataset refuses.

    Nothing is read. The default set may be missing, because a run makes it.
    """
    for config in {data_key(config): config for config in configs}.values():
        if task_of(config).load(config, False) is None:
            continue  # a task that makes its own
        named = inspect.signature(DatasetRegistry.factory(config.dataset_name)).parameters
        path = config.metadata_path
        if "path" in named and path != DEFAULT_METADATA_PATH and not Path(path).exists():
            raise DataNotFoundError(f"{path}: no such data file or folder")


def trial_plan(experiment: Experiment, point: Point, options: TuneOptions) -> dict[str, Any]:
    """Return the epochs, rungs, resources, drawn values and config of a trial."""
    epochs, asked = point.config.num_epochs, experiment.resources
    setup = Setup(options.grace_period, options.reduction_factor, epochs)
    gpus = options.gpus_per_trial if asked.gpus is None else asked.gpus
    plan: dict[str, Any] = {
        "epochs": epochs,
        "rungs": SCHEDULERS[options.scheduler](setup).rungs,
        "cpus": (options.cpus_per_trial or 1.0) if asked.cpus is None else asked.cpus,
        "gpus": f"{SHARED_GPU} if there is a GPU" if gpus is None else gpus,
    }
    if asked.memory:
        plan["memory"] = asked.memory
    if point.values:
        plan["sampled"] = dict(point.values)
    return {**plan, "config": point.config.to_dict()}
