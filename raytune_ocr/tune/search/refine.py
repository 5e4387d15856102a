"""Search around the best trial of an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from raytune_ocr.config.metrics import ANY, monitors_of
from raytune_ocr.config.settings import RULES, SECTIONS
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.plugins import check_trusted
from raytune_ocr.tune.search.warm_start import Known, Source, flattened, read_known
from raytune_ocr.tune.space.domains import DIGITS
from raytune_ocr.tune.space.experiment import Experiment
from raytune_ocr.tune.space.experiment_parser import read_experiment
from raytune_ocr.tune.space.search_space import Space

REFINED = "refined"


REFINE_SAMPLES = 10


def refine(space: Space, sources: Sequence[Source], num_samples: int | None = None) -> Space:
    """Return the search of the best known trial, with domains around that trial's values.

    Each domain becomes `Domain.around` the best value; constants stay. If the best trial came from
    no search of `space`, its recorded config is searched instead: learning rate a third to three
    times as high, weight decay a tenth to ten times, batch size half to double; of an own task,
    each parameter that is a positive fraction like the learning rate. Of settings that PBT changed
    during training, the last values count.

    Args:
        num_samples: of that search, whatever the file says.

    Raises:
        DataNotFoundError, DataLoaderError: the sources have no completed trial.
    """
    known = read_known(sources)
    if not known.points:
        named = ", ".join(map(str, sources))
        raise DataNotFoundError(f"--refine: {named}: no completed trial with a score")
    decided = {point.source for point in known.points if point.won}
    winners = [point for point in known.points if point.won or point.source not in decided]
    best = _settled(max(winners, key=lambda point: point.score), space)
    searched = space.experiments.get(str(best.result.get("search", best.name)))
    if searched is not None and searched.is_search:
        domains = {
            name: domain.around(best.fields[name]) if name in best.fields else domain
            for name, domain in searched.domains.items()
        }
        near = replace(searched, domains=domains)
    else:
        near = _neighbourhood(best, space, num_samples)
    return Space({near.name: near}, space.targets, space.seed)


def _settled(best: Known, space: Space) -> Known:
    """Replace `changes` by the settings at the end, unless the file itself had the changes."""
    written = space.experiments.get(str(best.result.get("search", best.name)))
    in_file = written is not None and "changes" in written.fields
    if in_file or not best.fields.get("changes"):
        return best
    fields = {name: value for name, value in best.fields.items() if name in RULES}
    config = TrainingConfig.from_dict(fields, environment={})
    last = replace(config.after(config.num_epochs), changes=[])
    return replace(best, fields=flattened(last.to_dict()))


def _neighbourhood(best: Known, space: Space, num_samples: int | None) -> Experiment:
    """Return an experiment around a recorded config."""
    some = next(iter(space.experiments.values()))
    fields = {name: value for name, value in best.fields.items() if name in RULES}
    for name in ("experiment_name", *some.base):
        fields.pop(name, None)
    config = TrainingConfig.from_dict(fields, environment={})
    place = f"--refine: {best.name} of {best.source}"
    check_trusted(config.imports, space.imports, place)
    rate, decay, batch = config.learning_rate, config.weight_decay, config.batch_size
    near: dict[str, Any] = {"learning_rate": _within(rate, 3)}
    if decay:
        near["weight_decay"] = _within(decay, 10)
    near["batch_size"] = {"choice": sorted({max(1, batch // 2), batch, batch * 2})}
    if monitors_of(fields) is ANY:  # a task of one's own, which knows its parameters alone
        near = {"parameters": {name: _near(v) for name, v in config.parameters.items()}}
    written: dict[str, Any] = {}
    values = fields | near
    for section, keys in SECTIONS.items():
        for key, name in keys.items():
            if name in values:
                home = written.setdefault(section, {}) if section else written
                home[key] = values.pop(name)
    samples = space.tuning.get("num_samples", REFINE_SAMPLES)
    return read_experiment(REFINED, written, place, some.base, some.overrides, num_samples, samples)


def _near(value: Any) -> Any:
    """A domain around a positive fraction; any other parameter stays."""
    return _within(value, 3) if isinstance(value, float) and value > 0 else value


def _within(value: float, factor: float) -> dict[str, Any]:
    return {
        "loguniform": [float(f"{bound:.{DIGITS}g}") for bound in (value / factor, value * factor)]
    }
