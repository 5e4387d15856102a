"""What earlier runs know of this one's settings: whole curves, and the best settings to try."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from raytune_ocr.tune.schedulers.base import EarlierTrial
from raytune_ocr.tune.search.warm_start import Known, KnownPoints
from raytune_ocr.tune.space.experiment import Experiment

MOST_TRIED = 8
"""Settings of earlier runs that a search tries first, and at most a quarter of its size."""


def earlier_studies(
    known: KnownPoints, experiments: Iterable[Experiment]
) -> list[list[EarlierTrial]]:
    """Return the trials of each earlier run that have some of the searched settings."""
    searched = [experiment for experiment in experiments if experiment.is_search]
    studies = [
        [trial for point in study if (trial := _trial(point, searched))]
        for study in _by_source(known)
    ]
    return [study for study in studies if study]


def best_values(known: KnownPoints, experiment: Experiment) -> list[dict[str, Any]]:
    """Return the values of the best trials of earlier runs that an experiment could have drawn.

    The best of each run come first, then the second best.
    """
    ranked = [sorted(study, key=lambda point: -point.score) for study in _by_source(known)]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*ranked))
    found = (_values(point, experiment) for point in turns if point is not None)
    most = min(MOST_TRIED, experiment.size // 4)
    return list(itertools.islice(_distinct(values for values in found if values), most))


def _by_source(known: KnownPoints) -> list[list[Known]]:
    studies: dict[str, list[Known]] = {}
    for point in (*known.points, *known.library):
        studies.setdefault(point.source, []).append(point)
    return list(studies.values())


def _trial(point: Known, searched: Sequence[Experiment]) -> EarlierTrial | None:
    """Return a point as a trial of the experiment that has most of its settings; None: of none."""
    sampled = {e.name: e.values_among(point.fields) for e in searched}
    search = max(sampled, key=lambda name: len(sampled[name]), default="")
    if not sampled.get(search):
        return None
    last = max(point.curve, default=int(point.result.get("total_epochs") or 1))
    length = max(int(point.fields.get("num_epochs") or last), last)
    curve = point.curve or {last: point.score}
    return EarlierTrial(search, sampled[search], point.fields, curve, length)


def _values(point: Known, experiment: Experiment) -> dict[str, Any] | None:
    """Return a value of each domain; None if one is missing or outside."""
    try:
        values = experiment.values(
            lambda name, domain: domain.from_optuna(domain.to_optuna(point.fields[name]))
        )
    except (KeyError, TypeError):  # missing, or None: outside
        return None
    return values


def _distinct(found: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    seen: list[Mapping[str, Any]] = []
    for values in found:
        if values not in seen:
            seen.append(values)
            yield dict(values)
