"""Points that earlier runs have tried: they inform a search, and are not trained again."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raytune_ocr.config import RULES, TrainingConfig
from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.tune.analysis import score_of
from raytune_ocr.tune.domains import DIGITS
from raytune_ocr.tune.experiment import Experiment
from raytune_ocr.tune.results import read_document
from raytune_ocr.tune.sections import SECTIONS
from raytune_ocr.tune.space import Space
from raytune_ocr.tune.state import SETTINGS_THAT_MAY_CHANGE
from raytune_ocr.tune.written import read_experiment

Source = str | os.PathLike[str]
REFINED = "refined"
REFINE_SAMPLES = 10


@dataclass(frozen=True)
class Known:
    """One trial of an earlier run.

    Attributes:
        source: the file that tells of it.
        fields: of its config, parts of one as `model_options.width`; the original system's results
            tell seven.
        score: 0..1, as `analysis.score_of` has it.
        result: the whole entry of the JSON.
    """

    source: str
    fields: Mapping[str, Any]
    score: float
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the trial."""
        return str(self.result.get("experiment_name", "?"))

    def __str__(self) -> str:
        return f"{self.name} of {self.source} was the same and reached {self.score:.4f}"

    def is_of(self, config: TrainingConfig) -> bool:
        """Whether `config` is the same in all that is told and decides what is learned."""
        wanted = flattened(config.to_dict())
        told = {name: v for name, v in self.fields.items() if name.split(".")[0] in RULES}
        deciding = [n for n in told if n not in (*SETTINGS_THAT_MAY_CHANGE, "experiment_name")]
        if "metadata_path" in told:
            same = Path(told["metadata_path"]).absolute() == Path(config.metadata_path).absolute()
            if not same:
                return False
        return bool(deciding) and all(wanted.get(name) == told[name] for name in deciding)


@dataclass(frozen=True)
class KnownPoints:
    """All that earlier runs tell."""

    points: Sequence[Known] = ()

    def of(self, config: TrainingConfig) -> Known | None:
        """The trial of an earlier run that was the same as `config`."""
        return next((point for point in self.points if point.is_of(config)), None)

    def skip(self, config: TrainingConfig) -> bool:
        """Whether there is one."""
        return self.of(config) is not None

    def told_of(self, space: Space) -> str:
        """That all of `space` is known, and the best of it."""
        best = max(self.points, key=lambda point: point.score, default=None)
        told = f"; the best is {best.name} ({best.score:.4f}) of {best.source}" if best else ""
        return f"every trial of {', '.join(space.experiments)} is known already{told}"


def read_known(sources: Sequence[Source]) -> KnownPoints:
    """Completed trials with a score, of results JSONs or output folders, the original's too.

    Raises:
        DataNotFoundError, DataLoaderError: when a source is not there or holds no results.
    """
    points = []
    for source in sources:
        path, document = read_document(source)
        for result in document["all_results"]:
            score = score_of(dict(result))
            if result.get("status") == "completed" and score == score:
                fields = result.get("config") or result.get("hyperparameters") or {}
                points.append(Known(str(path.absolute()), flattened(fields), score, result))
    return KnownPoints(points)


def flattened(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fields by name, parts of mappings and lists too: `optimizer_betas.0`."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat[prefix + name] = value
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            flat |= flattened({str(i): part for i, part in enumerate(value)}, f"{prefix}{name}.")
    return flat


# Around the best one


def refine(space: Space, sources: Sequence[Source], num_samples: int | None = None) -> Space:
    """The search of `space` that the best known trial came from, with domains around its values.

    Each domain becomes `Domain.around` the best value; constants stay. Where the best trial came
    from no search of `space`, its recorded config is searched instead: learning rate a third to
    three times as high, weight decay a tenth to ten times, batch size half to double. Of settings
    that were changed in mid-training by a population the last ones count.

    Args:
        num_samples: of that search, whatever the file says.

    Raises:
        DataNotFoundError, DataLoaderError: when the sources tell of no completed trial.
    """
    known = read_known(sources)
    if not known.points:
        told = ", ".join(map(str, sources))
        raise DataNotFoundError(f"--refine: {told}: no completed trial with a score to go on from")
    best = _settled(max(known.points, key=lambda point: point.score), space)
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
    """With what it ended with instead of `changes`, unless it was its file that had them."""
    written = space.experiments.get(str(best.result.get("search", best.name)))
    in_file = written is not None and "changes" in (written.content.get("training") or {})
    if in_file or not best.fields.get("changes"):
        return best
    fields = {name: value for name, value in best.fields.items() if name in RULES}
    config = TrainingConfig.from_dict(fields, environment={})
    last = replace(config.after(config.num_epochs), changes=[])
    return replace(best, fields=flattened(last.to_dict()))


def _neighbourhood(best: Known, space: Space, num_samples: int | None) -> Experiment:
    """An experiment around a recorded config, whatever it came from."""
    some = next(iter(space.experiments.values()))
    fields = {name: value for name, value in best.fields.items() if name in RULES}
    for name in ("experiment_name", *some.base):
        fields.pop(name, None)
    config = TrainingConfig.from_dict(fields, environment={})
    rate, decay, batch = config.learning_rate, config.weight_decay, config.batch_size
    near: dict[str, Any] = {"learning_rate": _within(rate, 3)}
    if decay:
        near["weight_decay"] = _within(decay, 10)
    near["batch_size"] = {"choice": sorted({max(1, batch // 2), batch, batch * 2})}
    written: dict[str, dict[str, Any]] = {}
    values = fields | near
    for section, keys in SECTIONS.items():
        for key, name in keys.items():
            if name in values:
                written.setdefault(section, {})[key] = values.pop(name)
    place = f"--refine: {best.name} of {best.source}"
    samples = space.tuning.get("num_samples", REFINE_SAMPLES)
    return read_experiment(REFINED, written, place, some.base, some.overrides, num_samples, samples)


def _within(value: float, factor: float) -> dict[str, Any]:
    return {
        "loguniform": [float(f"{bound:.{DIGITS}g}") for bound in (value / factor, value * factor)]
    }
