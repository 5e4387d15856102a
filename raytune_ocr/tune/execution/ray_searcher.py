"""How Ray asks for trials, and whether the run is over: `search.py` and `budget.py` answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune import PlacementGroupFactory, Stopper
from ray.tune.search import Searcher
from ray.tune.search.search_generator import SearchGenerator

from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.cluster.placement import KINDS

Settings = Callable[[TrialRecord], dict[str, Any]]


class AskedTrials(Searcher):
    """Gives Ray the trials that are known, then those that `more` draws when a place is free.

    Args:
        records: to train, in order; more may be appended while the run goes on.
        settings: what a trial gets as its config; must hold `experiment_name`.
        more: draws one trial, or says None: no more now.
        at_a_time: says how many trials may be under way now; None: as many as Ray has room for.
    """

    def __init__(
        self,
        records: Sequence[TrialRecord],
        settings: Settings,
        more: Callable[[], TrialRecord | None],
        at_a_time: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(metric="best_score", mode="max")
        self.queue = list(records)
        self._settings = settings
        self._more = more
        self._at_a_time = at_a_time
        self._running: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        """The settings of the next trial; None: not now."""
        if self._at_a_time is not None and len(self._running) >= self._at_a_time():
            return None
        record = self.queue.pop(0) if self.queue else self._more()
        if record is None:
            # Those that run may still bring forth others.
            return None if self._running else Searcher.FINISHED
        self._running.add(trial_id)
        return self._settings(record)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A place is free."""
        self._running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a resume asks the run's own state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class Asking(SearchGenerator):
    """Ray's end of it, which leaves no files of its own."""

    def save_to_dir(self, dirpath: str, session_str: str) -> None:  # type: ignore[override]
        """Nothing."""


class BudgetStopper(Stopper):
    """Ends a run when its budget is spent.

    Args:
        over: whether it is.
    """

    def __init__(self, over: Callable[[], bool]) -> None:
        self.over = over

    def __getstate__(self) -> dict[str, Any]:
        return {"over": bool}  # Ray pickles it; nothing reads that

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """No trial ends by itself for this."""
        return False

    def stop_all(self) -> bool:
        """Whether all have to end."""
        return self.over()


def placement(config: Mapping[str, Any]) -> PlacementGroupFactory:
    """What a trial asks Ray for: the `request` in its config."""
    bundle = {KINDS[kind]: amount for kind, amount in config["request"].items()}
    return PlacementGroupFactory([bundle])
