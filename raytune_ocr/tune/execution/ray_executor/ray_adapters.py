"""Ray's side of the decisions: it asks for trials, reports epochs, and asks whether to go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import PlacementGroupFactory, Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.search_generator import SearchGenerator

from raytune_ocr.results.decision import CONTINUE, PAUSE
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.cluster.placement import KINDS
from raytune_ocr.tune.tracking.ray_logger import PAUSED


class RaySearcher(Searcher):
    """Gives Ray the next trial when there is room for one.

    Args:
        next_trial: chooses it; None: none before another report.
        settings: what a trial gets as its config; must hold `experiment_name`.
        max_concurrent: how many trials Ray is asked for at a time.
    """

    def __init__(
        self,
        next_trial: Callable[[], TrialRecord | None],
        settings: Callable[[TrialRecord], dict[str, Any]],
        max_concurrent: Callable[[], int],
    ) -> None:
        super().__init__(metric="best_score", mode="max")
        self._next_trial = next_trial
        self._settings = settings
        self._max_concurrent = max_concurrent
        self._running: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        """The settings of the next trial; None: not now."""
        if len(self._running) >= self._max_concurrent():
            return None
        record = self._next_trial()
        if record is None:
            # What those that train report may lead to others.
            return None if self._running else Searcher.FINISHED
        self._running.add(trial_id)
        return self._settings(record)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """There is room for another one."""
        self._running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a resume reads the run's own journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class RaySearchAlgorithm(SearchGenerator):
    """Ray's generator around a `RaySearcher`, which leaves no files of its own."""

    def save_to_dir(self, dirpath: str, session_str: str) -> None:  # type: ignore[override]
        """Nothing."""


class RayScheduler(FIFOScheduler):
    """Passes each report on and ends Ray's trial where it is to stop or to pause.

    A paused trial goes on later as another one of Ray's.

    Args:
        report: takes Ray's trial and its result, and says CONTINUE, PAUSE or STOP.
    """

    def __init__(self, report: Callable[[Any, dict[str, Any]], str]) -> None:
        super().__init__()
        self._report = report

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles it; nothing reads that

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Stop or go on."""
        if result.get("done"):  # the last result once more, since the function has returned
            return TrialScheduler.CONTINUE
        action = self._report(trial, result)
        trial.config[PAUSED] = action == PAUSE
        return TrialScheduler.CONTINUE if action == CONTINUE else TrialScheduler.STOP

    def debug_string(self) -> str:
        """Nothing: progress is shown elsewhere."""
        return ""


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
