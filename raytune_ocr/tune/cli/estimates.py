"""Estimate hours, disk space and cost of a run before it starts, from trials of earlier runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raytune_ocr.config.metrics import READER, task_name
from raytune_ocr.config.prices import Prices
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.results.cost import HOUR
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.search.warm_start import Known
from raytune_ocr.tune.selection.confirmation import SEEDS
from raytune_ocr.tune.storage.mirror import STATES_KEPT

KIND = ("trainable", "task", "model_name", "dataset_name", "dataset_options", "train_split")
"""Settings by which trials take about the same time an epoch, besides the path of their data."""

MODEL = ("trainable", "task", "model_name", "model_config_path", "model_options")
MOST_MODELS = 20  # built to count their parameters; other trials count as the largest of them
WEIGHT_BYTES = 4
MOMENTS = {"sgd": 1}  # copies of the weights in the optimizer's state; other optimizers have two


@dataclass(frozen=True)
class Epoch:
    """What an epoch took in earlier trials of one kind, on average."""

    trials: int
    seconds: float
    cpu_hours: float | None
    gpu_hours: float | None


def estimates(
    configs: Sequence[TrainingConfig],
    options: TuneOptions,
    prices: Prices | None,
    earlier: Iterable[Known],
) -> list[str]:
    """Return a line each about the hours, the disk space and the cost of trials.

    A figure that nothing measured is said to be unknown, with the reason.
    """
    known = [point.result for point in earlier if point.result.get("config")]
    epochs = _epochs_of(known)
    planned = [*configs, *_confirming(configs, options)]
    return [
        f"hours: {_hours(planned, epochs, options)}",
        f"disk: {_disk(configs, planned, known, options)}",
        f"cost: {_cost(planned, epochs, prices, options)}",
    ]


def _confirming(configs: Sequence[TrainingConfig], options: TuneOptions) -> list[TrainingConfig]:
    """The configs that train longest, as often as a confirmation trains the best ones."""
    longest = sorted(configs, key=lambda config: -config.num_epochs)[: options.confirm or 0]
    return longest * (options.confirm_seeds or SEEDS)


def _kind(config: Mapping[str, Any]) -> str:
    """The key of trials that take about the same time an epoch."""
    path = Path(str(config.get("metadata_path"))).absolute()
    return repr([*(config.get(name) or None for name in KIND), str(path)])


def _epochs_of(results: Iterable[Mapping[str, Any]]) -> dict[str, Epoch]:
    """What an epoch took, by kind of trial."""
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        if result.get("train_time_per_epoch") and not result.get("parent"):
            by_kind.setdefault(_kind(result["config"]), []).append(result)
    return {
        kind: Epoch(
            len(found),
            statistics.fmean(result["train_time_per_epoch"] for result in found),
            _mean_hours(found, "cpu_hours"),
            _mean_hours(found, "gpu_hours"),
        )
        for kind, found in by_kind.items()
    }


def _mean_hours(results: Iterable[Mapping[str, Any]], name: str) -> float | None:
    hours = [r[name] / r["total_epochs"] for r in results if r.get(name) is not None]
    return statistics.fmean(hours) if hours else None


def _known(
    planned: Iterable[TrainingConfig], epochs: Mapping[str, Epoch]
) -> list[tuple[TrainingConfig, Epoch]]:
    """The trials of kinds that were measured, each with its epoch."""
    kinds = ((config, _kind(vars(config))) for config in planned)
    return [(config, epochs[kind]) for config, kind in kinds if kind in epochs]


def _hours(
    planned: Sequence[TrainingConfig], epochs: Mapping[str, Epoch], options: TuneOptions
) -> str:
    there = _known(planned, epochs)
    limit = options.time_budget
    ends = f"; --time-budget ends the run after {limit / HOUR:.3g}" if limit else ""
    if not there:
        return (
            f"unknown, no earlier trial of these models and data has a measured epoch{ends}; name "
            "earlier results with --warm-start or --library"
        )
    seconds = sum(config.num_epochs * epoch.seconds for config, epoch in there)
    trained = sum(config.num_epochs for config, _ in there)
    count = sum(epoch.trials for epoch in {id(epoch): epoch for _, epoch in there}.values())
    return (
        f"about {seconds / HOUR:.3g} of training if no trial stops early, shared by the trials "
        f"that run at a time ({trained} epochs of {seconds / trained:.3g} s, as in {count} earlier "
        f"trials){_without(planned, there)}{ends}"
    )


def _without(planned: Sequence[Any], there: Sequence[Any]) -> str:
    """Say how many trials an estimate leaves out."""
    left = len(planned) - len(there)
    return f"; without {left} of {len(planned)} trials, of which nothing is known" if left else ""


def _cost(
    planned: Sequence[TrainingConfig],
    epochs: Mapping[str, Epoch],
    prices: Prices | None,
    options: TuneOptions,
) -> str:
    if prices is None:
        return "unknown, the file has no prices"
    most = options.max_cost
    ends = "" if most is None else f"; --max-cost ends the run at {prices.shown(most)}"
    known = _known(planned, epochs)
    there = [
        config.num_epochs * prices.of(epoch.cpu_hours, epoch.gpu_hours or 0.0)
        for config, epoch in known
        if epoch.cpu_hours is not None
    ]
    if not there:
        why = "the earlier trials did not record their CPUs" if known else "as the hours are"
        return f"unknown, {why}{ends}"
    return (
        f"about {prices.shown(sum(there))} if no trial stops early{_without(planned, there)}{ends}"
    )


def _disk(
    configs: Sequence[TrainingConfig],
    planned: Sequence[TrainingConfig],
    results: Iterable[Mapping[str, Any]],
    options: TuneOptions,
) -> str:
    counts = _parameters(configs, results)
    there = [config for config in planned if _model(vars(config)) in counts]
    if not there:
        return "unknown, these models are only built in training"
    states = [_state_bytes(config, counts[_model(vars(config))]) for config in there]
    models = [
        counts[_model(vars(config))] * WEIGHT_BYTES + _numbered(config) * state
        for config, state in zip(there, states, strict=True)
    ]
    during = sum(models) + STATES_KEPT * sum(states)
    after = sum(sorted(models, reverse=True)[: options.models_kept]) + max(states)
    sizes = [f"{count / 1e6:.2g}" for count in sorted({min(counts.values()), max(counts.values())})]
    return (
        f"about {during / 1e9:.2g} GB during the run, {after / 1e9:.2g} GB after it "
        f"(--keep-models {options.keep_models}), for states and models of {' to '.join(sizes)} M "
        f"parameters, beside logs and data{_without(planned, there)}"
    )


def _model(config: Mapping[str, Any]) -> str:
    """The key of configs that build the same model."""
    return repr([config.get(name) or None for name in MODEL])


def _parameters(
    configs: Sequence[TrainingConfig], results: Iterable[Mapping[str, Any]]
) -> dict[str, int]:
    """The number of parameters by model: of earlier trials, and of readers, which are built."""
    counts = {
        _model(result["config"]): int(result["model_parameters"])
        for result in results
        if result.get("model_parameters")
    }
    distinct = {_model(vars(c)): c for c in configs if task_name(vars(c)) == READER}
    left = [(key, config) for key, config in distinct.items() if key not in counts]
    built = {key: _built(config) for key, config in left[:MOST_MODELS]}
    rest = {key: max(built.values()) for key, _ in left[MOST_MODELS:]}
    return {**counts, **built, **rest}


def _built(config: TrainingConfig) -> int:
    """Build a reader and count its parameters."""
    from raytune_ocr.models.registry import parameter_count
    from raytune_ocr.training import create_model_from_config

    return parameter_count(create_model_from_config(config))


def _state_bytes(config: TrainingConfig, parameters: int) -> int:
    """The size of a state: weights, best weights, the optimizer's moments and the average."""
    moments = MOMENTS.get(config.optimizer_type, 2)
    return parameters * WEIGHT_BYTES * (2 + moments + (config.ema_decay > 0))


def _numbered(config: TrainingConfig) -> int:
    """The number of numbered checkpoints that a trial keeps; each is a whole state."""
    return min(config.keep_n_checkpoints, -(-config.num_epochs // config.save_every_n_epochs))
