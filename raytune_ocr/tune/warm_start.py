"""Points that earlier runs have tried: they inform a search, and are not trained again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raytune_ocr.config import RULES, TrainingConfig
from raytune_ocr.errors import ConfigurationError, DataNotFoundError
from raytune_ocr.tune.analysis import score_of, winner_name
from raytune_ocr.tune.budget import CUT
from raytune_ocr.tune.domains import DIGITS
from raytune_ocr.tune.experiment import Experiment
from raytune_ocr.tune.results import read_document
from raytune_ocr.tune.sections import SECTIONS
from raytune_ocr.tune.space import Space
from raytune_ocr.tune.state import SETTINGS_THAT_MAY_CHANGE, STATE_FILE
from raytune_ocr.tune.written import read_experiment

KNOWN = "known"  # the kind of the note, in a run's state, of what its sources told as it began
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
        won: whether its run names it the best one, which goes by confirmation, or a loss, if so
            asked.
    """

    source: str
    fields: Mapping[str, Any]
    score: float
    result: Mapping[str, Any] = field(default_factory=dict)
    won: bool = False

    @property
    def name(self) -> str:
        """Of the trial."""
        return str(self.result.get("experiment_name", "?"))

    @property
    def was_cut(self) -> bool:
        """Whether it ended with its run, so that a resume of that would train it on."""
        return self.result.get("stop_reason") in CUT

    def __str__(self) -> str:
        return f"{self.name} of {self.source} was the same and reached {self.score:.4f}"

    def is_of(self, wanted: Mapping[str, Any]) -> bool:
        """Whether these `flattened` fields are the same in all that is told and that decides."""
        told = {name: v for name, v in self.fields.items() if name.split(".")[0] in RULES}
        deciding = [n for n in told if n not in (*SETTINGS_THAT_MAY_CHANGE, "experiment_name")]
        if "metadata_path" in told:
            named = (Path(fields["metadata_path"]).absolute() for fields in (told, wanted))
            if len(set(named)) > 1:
                return False
        return bool(deciding) and all(wanted.get(name) == told[name] for name in deciding)


@dataclass(frozen=True)
class KnownPoints:
    """All that earlier runs tell.

    Attributes:
        points: their trials.
        sources: where those were read, as it was asked for.
    """

    points: Sequence[Known] = ()
    sources: Sequence[str] = ()

    def __str__(self) -> str:
        return ", ".join(self.sources)

    def of(self, config: TrainingConfig) -> Known | None:
        """The trial of an earlier run that was the same as `config`, and came to its own end."""
        there = [point for point in self.points if not point.was_cut]
        wanted = flattened(config.to_dict()) if there else {}
        return next((point for point in there if point.is_of(wanted)), None)

    def skip(self, config: TrainingConfig) -> bool:
        """Whether there is one."""
        return self.of(config) is not None

    def told_of(self, space: Space) -> str:
        """That all of `space` is known, and the best of it."""
        best = max(self.points, key=lambda point: point.score, default=None)
        told = f"; the best is {best.name} ({best.score:.4f}) of {best.source}" if best else ""
        return f"every trial of {', '.join(space.experiments)} is known already{told}"

    def kept(self) -> list[dict[str, Any]]:
        """For a run's state; results as text, since that checks the numbers that it is made of."""
        return [
            {"source": point.source, "result": json.dumps(dict(point.result)), "won": point.won}
            for point in self.points
        ]

    @classmethod
    def of_kept(cls, entries: Iterable[Mapping[str, Any]]) -> KnownPoints:
        """What `kept` gave.

        Raises:
            ConfigurationError: the state was damaged.
        """
        try:
            told = [(str(e["source"]), json.loads(e["result"]), bool(e["won"])) for e in entries]
            points = [point for one in told if (point := _point(*one))]
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{STATE_FILE}: {KNOWN}: must be what the run's sources told, got {error!r}; "
                "put the file back from a copy"
            ) from None
        return cls(points, list(dict.fromkeys(source for source, *_ in told)))


Source = str | os.PathLike[str] | KnownPoints
"""A results JSON, an output folder, or what was read of such before."""


def read_known(sources: Sequence[Source]) -> KnownPoints:
    """Completed trials with a score, of results JSONs or output folders, the original's too.

    Raises:
        DataNotFoundError, DataLoaderError: when a source is not there or holds no results.
    """
    points: list[Known] = []
    for source in sources:
        if isinstance(source, KnownPoints):
            points.extend(source.points)
            continue
        path, document = read_document(source)
        winner = winner_name(source)
        for result in document["all_results"]:
            won = winner is not None and result.get("experiment_name") == winner
            if point := _point(str(path.absolute()), result, won):
                points.append(point)
    return KnownPoints(points, list(map(str, sources)))


def _point(source: str, result: Mapping[str, Any], won: bool) -> Known | None:
    """What an entry of a results JSON tells; None where it did not complete, or has no score."""
    score = score_of(dict(result))
    if result.get("status") != "completed" or score != score:
        return None
    fields = result.get("config") or result.get("hyperparameters") or {}
    return Known(source, flattened(fields), score, result, won)


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
