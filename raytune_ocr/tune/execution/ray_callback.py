"""From Ray's events to the driver's records."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune import Callback

from raytune_ocr.files import DISK_FULL
from raytune_ocr.results.record import FINISHED, TrialRecord
from raytune_ocr.tune.cluster.cluster import Cluster
from raytune_ocr.tune.cluster.node_checks import BLIND
from raytune_ocr.tune.execution.console import ProgressReport
from raytune_ocr.tune.execution.out_of_memory import LOW_ON_MEMORY, actor_id
from raytune_ocr.tune.schedulers.pause import is_turn_over

if TYPE_CHECKING:
    from raytune_ocr.tune.execution.trial_runner import Control

WAITING_SECONDS = 5.0
PROCESS_WENT_AWAY = re.compile(r"The actor (died|\w+ is unavailable)")  # Ray gives its text only
STATES_KEPT = 2  # of a trial: the newest may be half written when its node is lost


class Waiting:
    """Says what pending trials wait for: once, and again when that changes.

    Args:
        cluster: knows what nodes have.
        say: takes a line of text.
    """

    def __init__(self, cluster: Cluster, say: Callable[[str], None]) -> None:
        self.cluster = cluster
        self.say = say
        self._next = time.monotonic() + WAITING_SECONDS
        self._said = ""

    def look(self, trials: list[Any]) -> None:
        """Called all the time; looks every few seconds."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + WAITING_SECONDS
        pending = [trial for trial in trials if trial.status == "PENDING"]
        request = pending[0].config.get("request") if pending else None
        if request is None:
            return
        why = self.cluster.waits_for(request)
        kind = re.sub(r"[\d.]+", "", why.partition(":")[0])  # how much changes all the time
        if why and kind != self._said:
            self._said = kind
            self.say(f"{pending[0].config['experiment_name']} waits {why}")


class DriverCallback(Callback):
    """Notes every report and every end of a trial.

    Attributes:
        actors: the record of the trial that each actor runs or ran, by the actor's id.
        lost: names of trials whose process went away once more than Ray tries again, and that
            should be run again: they had got on, or their node had no memory or was blind.
    """

    def __init__(self, control: Control, scheduler: Any, progress: ProgressReport) -> None:
        self.control = control
        self.run = control.run
        self.scheduler = scheduler
        self.progress = progress
        self.actors: dict[str, TrialRecord] = {}
        self.lost: set[str] = set()
        self._resources = Waiting(control.cluster, progress.say)
        self._begun = {name: len(record.epochs) for name, record in self.run.records.items()}
        self._states: dict[str, list[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles callbacks into its own snapshot, which a resume here does not use.
        return dict.fromkeys(vars(self))

    def _record(self, trial: Any) -> TrialRecord:
        return self.run.records[trial.config["experiment_name"]]

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        record = self._record(trial)
        self.actors[actor_id(trial)] = record
        self.control.actors[actor_id(trial)] = trial.temporary_state.ray_actor
        if record.status not in FINISHED:
            record.status = "running"
            self.progress.update(record)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        record = self._record(trial)
        if result.get("disk_full"):
            self.control.stop(result["disk_full"])
            return
        for row in result.get("history", []):  # what was lost with an earlier driver
            record.add(row)
        record.add(result)
        trial.run_metadata.num_failures = 0  # it gets on: Ray counts its tries anew, in its place
        if result.get("error_message"):
            record.status, record.error_message = "failed", result["error_message"]
            record.stop_reason = result["stop_reason"]
        elif result.get("stop_reason"):
            record.status, record.stop_reason = "completed", result["stop_reason"]
        elif self.scheduler is not None and record.name in self.scheduler.stopped:
            record.status, record.stop_reason = "completed", "scheduler"
        elif is_turn_over(trial, result):
            record.status = "pending"
        self.run.note(record)
        self.progress.update(record)

    def on_checkpoint(
        self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any
    ) -> None:
        """Keep a trial's newest states. Ray would keep them too, but with a snapshot each time."""
        states = self._states.setdefault(trial.trial_id, [])
        states.append(checkpoint)
        while len(states) > STATES_KEPT:
            old = states.pop(0)
            old.filesystem.delete_dir(old.path)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.run.write_due()
        self._resources.look(trials)
        self.progress.refresh()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Ray is about to try it again."""
        self._avoid_blind(latest_error(trial))

    def _avoid_blind(self, error: str) -> bool:
        """Whether a node does not see where the run is kept; it gets no more trials."""
        blind = BLIND.search(error)
        if blind and self.control.cluster.avoid(blind["node"]):
            self.progress.say(f"{blind['told']}; it gets no more trials")
        return blind is not None

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        record = self._record(trial)
        if record.status in FINISHED or self.control.ending:
            return
        error = latest_error(trial)
        if is_disk_full(error):
            self.control.stop(f"{record.name}: {last_line(error)}")
            return
        blind = self._avoid_blind(error)
        got_on = len(record.epochs) > self._begun.get(record.name, 0)
        if blind or LOW_ON_MEMORY in error or (got_on and PROCESS_WENT_AWAY.search(error)):
            record.status = "pending"
            self.lost.add(record.name)
        else:
            record.status, record.stop_reason = "failed", "error"
            record.error_message = last_line(error)
        self.run.note(record)
        self.progress.update(record)


def latest_error(trial: Any) -> str:
    """What Ray has written of a trial's last failure: here, before it copies it anywhere.

    It adds all failures up in one file.
    """
    try:
        text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):  # not written, on a full disk
        text = str(trial.get_error() or "no reason is known")
    return text.rsplit("Failure #", 1)[-1]


def is_disk_full(error: str) -> bool:
    """Whether an error's text says that there is no space left."""
    return any(os.strerror(number) in error for number in DISK_FULL)


def last_line(error: str) -> str:
    """The message of an error that Ray wrapped in a remote traceback."""
    return next((line.strip() for line in reversed(error.splitlines()) if line.strip()), "")
