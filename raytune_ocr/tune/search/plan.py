"""The trials of a run, experiment by experiment: known from the start, or suggested later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Generic, TypeVar

from raytune_ocr.config.training_config import DATA_FIELDS
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.registries import SEARCHERS
from raytune_ocr.tune.schedulers.base import Trial
from raytune_ocr.tune.search.random_search import RandomSearch
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.experiment import Experiment, Point
from raytune_ocr.tune.space.search_space import Space
from raytune_ocr.tune.space.sections import dotted

TrialT = TypeVar("TrialT", bound=Trial)


class Plan(Generic[TrialT]):
    """Presets and random draws, known from the start, and a searcher per experiment for the rest.

    Args:
        space: the experiments.
        search: the name of the search for experiments with domains.
        known: points of earlier runs, which are not trained again.
        max_trials: trials that the run may have; None: all.
        make: a trial of an experiment's point.

    Raises:
        ConfigurationError: the data itself is searched by an adaptive searcher.
    """

    def __init__(
        self,
        space: Space,
        search: str,
        known: KnownPoints,
        max_trials: int | None,
        make: Callable[[Experiment, Point], TrialT],
    ) -> None:
        self.space = space
        self.known = known
        self.max_trials = max_trials
        self.make = make
        kind = SEARCHERS[search]
        self.searchers = {
            experiment.name: (kind if experiment.is_search else RandomSearch)(
                experiment, space.seed, known
            )
            for experiment in space.experiments.values()
        }
        if kind.adaptive:
            _check_data_is_fixed(space, search)

    @property
    def adaptive(self) -> bool:
        """Whether some trials are suggested while others train."""
        return any(searcher.adaptive for searcher in self.searchers.values())

    @property
    def size(self) -> int:
        """Number of trials that all experiments may have together."""
        return sum(experiment.size for experiment in self.space.experiments.values())

    def initial(self, begun: Collection[str] = ()) -> list[TrialT]:
        """Return the trials that depend on no result: those that had begun, then new ones."""
        trials = [
            self.make(searcher.experiment, point)
            for searcher in self.searchers.values()
            if not searcher.adaptive
            for point in _all_points(searcher)
        ]
        if self.max_trials is None:
            return trials
        new = max(0, self.max_trials - sum(trial.name in begun for trial in trials))
        names = {*begun, *[trial.name for trial in trials if trial.name not in begun][:new]}
        return [trial for trial in trials if trial.name in names]

    def suggest(self, trials: Mapping[str, Trial]) -> TrialT | None:
        """Return a trial of the first adaptive search that has trials left."""
        if self.max_trials is not None and len(trials) >= self.max_trials:
            return None
        for name, searcher in self.searchers.items():
            mine = [trial for trial in trials.values() if trial.search == name]
            if searcher.adaptive and len(mine) < searcher.experiment.size:
                number = 1 + max((number_of(trial.name) for trial in mine), default=0)
                point = searcher.suggest(number, mine)
                if point is not None:
                    return self.make(searcher.experiment, point)
        return None

    def independent(self, trials: Mapping[str, Trial]) -> int:
        """Return how many trials may train before a suggestion depends on their scores."""
        there = Counter(trial.search for trial in trials.values())
        free = (max(0, s.independent - there[name]) for name, s in self.searchers.items())
        return sum(not trial.is_finished for trial in trials.values()) + sum(free)

    def observe(self, trial: Trial) -> None:
        """Pass a trial's report or end to its searcher."""
        if searcher := self.searchers.get(trial.search):
            searcher.observe(trial)

    def restored(self, begun: Mapping[str, tuple[str, Mapping[str, Any]]]) -> list[TrialT]:
        """Return the trials that adaptive searches suggested earlier.

        Args:
            begun: by name, the search and the sampled values.
        """
        trials = []
        for name, (search, sampled) in begun.items():
            searcher = self.searchers.get(search)
            if searcher is not None and searcher.adaptive and (number := number_of(name)):
                point = searcher.experiment.point(sampled, number)
                trials.append(self.make(searcher.experiment, point))
        return trials

    def examples(self) -> list[TrialT]:
        """Return example trials with every model and every dataset that may be suggested."""
        return [
            self.make(experiment, point)
            for experiment in self.space.experiments.values()
            for point in experiment.points(self.space.seed, self.known.skip)
        ]


def number_of(name: str) -> int:
    """Return the number in a trial's name, from 1; 0 if it has none."""
    number = name.rpartition("_")[2]
    return int(number) if number.isdigit() else 0


def _all_points(searcher: Any) -> Iterable[Point]:
    number = 0
    while (point := searcher.suggest(number := number + 1, ())) is not None:
        yield point


def _check_data_is_fixed(space: Space, search: str) -> None:
    problems = [
        f"{dotted(e.place, *domain.path)}: cannot be searched with --search "
        f"{search}, because data are read before the first trial; use --search random, or an "
        "experiment for each value"
        for e in space.experiments.values()
        for name, domain in e.domains.items()
        if name.split(".")[0] in DATA_FIELDS
    ]
    if problems:
        raise ConfigurationError("\n".join(problems))
