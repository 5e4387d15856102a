"""Adapters that Ray Tune calls: a search algorithm, a scheduler, a stopper and a reporter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import PlacementGroupFactory, ProgressReporter, Stopper
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.search.search_generator import SearchGenerator

from raytune_ocr.results.decision import CONTINUE, PAUSE
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.cluster.placement import KINDS
from raytune_ocr.tune.tracking.ray_logger import PAUSED

MADE_WITH = "made_with"  # the key of versions, device and node in a report


class RaySearcher(Searcher):
    """Gives Ray the next trial when resources are free.

    Args:
        next_trial: chooses it; None: none before another report.
        settings: the config of a trial; must contain `experiment_name`.
        max_concurrent: how many trials Ray may hold at a time.
        wait: waits a moment for an order while no trial runs; False: there is none to wait for.
    """

    def __init__(
        self,
        next_trial: Callable[[], TrialRecord | None],
        settings: Callable[[TrialRecord], dict[str, Any]],
        max_concurrent: Callable[[], int],
        wait: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(metric="best_score", mode="max")
        self._next_trial = next_trial
        self._settings = settings
        self._max_concurrent = max_concurrent
        self._wait = wait
        self._running: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        """Return the settings of the next trial; None: not now."""
        if len(self._running) >= self._max_concurrent():
            return None
        record = self._next_trial()
        while record is None and not self._running and self._wait():
            record = self._next_trial()
        if record is None:
            # A report of a running trial may lead to new ones.
            return None if self._running else Searcher.FINISHED
        self._running.add(trial_id)
        return self._settings(record)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Free the trial's place."""
        self._running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: a resume reads the run's journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing."""


class RaySearchAlgorithm(SearchGenerator):
    """Ray's generator around a `RaySearcher`; it writes no files."""

    def save_to_dir(self, dirpath: str, session_str: str) -> None:  # type: ignore[override]
        """Do nothing."""


class RayScheduler(FIFOScheduler):
    """Passes each report on, and ends Ray's trial on PAUSE or STOP.

    A paused trial continues later as a new Ray trial.

    Args:
        report: takes Ray's trial and its result, and returns CONTINUE, PAUSE or STOP.
    """

    def __init__(self, report: Callable[[Any, dict[str, Any]], str]) -> None:
        super().__init__()
        self._report = report

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles it; nothing reads it

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return Ray's CONTINUE or STOP."""
        if result.get("done"):  # the function has returned: Ray repeats the last result
            return TrialScheduler.CONTINUE
        action = self._report(trial, with_made_with(result))
        trial.config[PAUSED] = action == PAUSE
        return TrialScheduler.CONTINUE if action == CONTINUE else TrialScheduler.STOP

    def debug_string(self) -> str:
        """Return nothing: `ProgressReport` shows the progress."""
        return ""


def with_made_with(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with `made_with` as a mapping again: Ray flattens it for schedulers."""
    found = {k.partition("/")[2]: v for k, v in result.items() if k.startswith(f"{MADE_WITH}/")}
    return {**result, MADE_WITH: found} if found else dict(result)


class BudgetStopper(Stopper):
    """Ends a run when its budget is spent.

    Args:
        over: whether it is spent.
    """

    def __init__(self, over: Callable[[], bool]) -> None:
        self.over = over

    def __getstate__(self) -> dict[str, Any]:
        return {"over": bool}  # Ray pickles it; nothing reads it

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return False: a budget ends all trials, not one."""
        return False

    def stop_all(self) -> bool:
        """Whether all trials must end."""
        return self.over()


def placement(config: Mapping[str, Any]) -> PlacementGroupFactory:
    """Return the placement group of a trial: the `request` in its config."""
    bundle = {KINDS[kind]: amount for kind, amount in config["request"].items()}
    return PlacementGroupFactory([bundle])


class NoReporter(ProgressReporter):
    """Prints nothing; in a notebook, Ray's own would clear the output of the cell."""

    def should_report(self, trials: list[Any], done: bool = False) -> bool:
        """Never."""
        return False

    def report(self, trials: list[Any], done: bool, *sys_info: Any) -> None:
        """Print nothing."""
