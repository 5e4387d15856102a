"""Pass Ray's events on to the run."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ray
from ray.tune import Callback

from raytune_ocr.files import SAYS_DISK_FULL
from raytune_ocr.results.decision import CONTINUE, PAUSE
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tasks.base import WITHOUT_STATE
from raytune_ocr.training.checkpoints.run_folder import ERROR_LOG
from raytune_ocr.training.model_config import without_model_file
from raytune_ocr.tune.cluster.cluster import Cluster
from raytune_ocr.tune.cluster.node_checks import BLIND
from raytune_ocr.tune.cluster.placement import fits
from raytune_ocr.tune.cluster.ray_patches import actor_id, actor_of, failures_of, set_failures
from raytune_ocr.tune.execution.console import ProgressReport
from raytune_ocr.tune.execution.ray_executor.node_drain import DRAINED
from raytune_ocr.tune.execution.ray_executor.oom_kills import (
    OomKills,
    oom_kills_by_node,
    oom_kills_here,
)
from raytune_ocr.tune.execution.ray_executor.out_of_memory import (
    KERNEL,
    LOW_ON_MEMORY,
    halve_batch,
)
from raytune_ocr.tune.execution.ray_executor.trial_timeout import TRIAL_TIMEOUT, Watch
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.execution.terminal.live_table import waiting_words
from raytune_ocr.tune.execution.trial_errors import (
    latest_error,
    log_error,
    message_of,
    own_frames,
    shown,
)
from raytune_ocr.tune.storage.mirror import STATES_KEPT
from raytune_ocr.tune.tracking.ray_logger import BY_ORDER, PAUSED

WAITING_SECONDS = 5.0
START_SECONDS = 30.0  # in which the first processes start, on what Ray has reserved for them
PROCESS_WENT_AWAY = re.compile(r"The actor (died|\w+ is unavailable)")  # Ray gives its text only
NOTHING_SAVED = (
    "trials pause at milestones and their function saves nothing (context.save), so each of them "
    "trains again from its first epoch when it continues"
)
NO_EPOCH_IN_TIME = "no epoch finished in time: the process hung"


class Waiting:
    """Prints what pending trials wait for: once, and again when that changes.

    Args:
        cluster: knows the resources of nodes.
        progress: the console output.
    """

    def __init__(self, cluster: Cluster, progress: ProgressReport) -> None:
        self.cluster = cluster
        self.progress = progress
        self._next = time.monotonic() + WAITING_SECONDS
        self._starting_until = time.monotonic() + START_SECONDS
        self._said = ""

    def look(self, trials: list[Any]) -> None:
        """Check every few seconds; called in a loop."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + WAITING_SECONDS
        pending = [trial for trial in trials if trial.status == "PENDING"]
        request = pending[0].config.get("request") if pending else None
        waits = request is not None and not self._is_starting(trials, request)
        why = self.cluster.waits_for(request) if request and waits else ""
        self.progress.waiting = waiting_words(self.progress.records.values(), why)
        kind = re.sub(r"[\d.]+", "", why.partition(":")[0])  # the amounts change all the time
        if why and kind != self._said:
            self._said = kind
            self.progress.say(f"{pending[0].config['experiment_name']} waits {why}")

    def _is_starting(self, trials: list[Any], request: Mapping[str, float]) -> bool:
        """Whether no trial runs yet because the processes of the first ones are starting."""
        if time.monotonic() >= self._starting_until or any(t.status == "RUNNING" for t in trials):
            return False
        return any(fits(request, node) for node in self.cluster.nodes())


class RayCallback(Callback):
    """Passes the events of Ray's trials on to the run.

    Args:
        run: the run.
        cluster: knows the resources of nodes.
        progress: the console output.
        end_run: ends the run in order.
        is_ending: whether the run is ending.
        poll: carries out the orders that have come.

    Attributes:
        actors: Ray's handles of the processes that run or ran trials, by id.
        records: the trial of each actor, by the same ids.
        lost: names of trials to run again although Ray gave them up: their process died after
            progress, or their node ran out of memory or lacks the storage.
    """

    def __init__(
        self,
        run: Run,
        cluster: Cluster,
        progress: ProgressReport,
        end_run: Callable[[], None],
        is_ending: Callable[[], bool],
        poll: Callable[[], None] = lambda: None,
    ) -> None:
        self.run = run
        self.cluster = cluster
        self.progress = progress
        self.end_run = end_run
        self.is_ending = is_ending
        self.poll = poll
        self.actors: dict[str, Any] = {}
        self.records: dict[str, TrialRecord] = {}
        self.lost: set[str] = set()
        self._resources = Waiting(cluster, progress)
        self._begun = {name: last_epoch(record) for name, record in run.records.items()}
        self._furthest = dict(self._begun)  # the last epoch ever reported, by trial
        self._watch = Watch()
        self._oom_kills = OomKills(oom_kills_by_node if cluster.address else oom_kills_here)
        self._states: dict[str, list[Any]] = {}
        self._told_of_pauses = False
        self._trials: list[Any] = []  # Ray's
        self._released: set[str] = set()  # ids of Ray's trials that orders have ended

    def __getstate__(self) -> dict[str, Any]:
        # Ray pickles callbacks into its own snapshot, which a resume here does not use.
        return dict.fromkeys(vars(self))

    def _record(self, trial: Any) -> TrialRecord:
        name = trial.config["experiment_name"]
        return self.run.records.get(name) or self.run.study.orders.withdrawn[name]

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        record = self._record(trial)
        self._trials = trials
        self.records[actor_id(trial)] = record
        self.actors[actor_id(trial)] = actor_of(trial)
        if trial.trial_id in self._released:
            _kill(trial)
        elif not record.is_finished:
            record.status = "running"
            self._watch.begin(record.name, trial.config["timeout"])
            self.progress.update(record)

    def report(self, trial: Any, result: dict[str, Any]) -> str:
        """Record a trial's report; return CONTINUE, PAUSE or STOP."""
        record = self._record(trial)
        if trial.trial_id in self._released:  # its process is ending
            return CONTINUE
        if result.get("disk_full"):
            self.run.recorder.fail(result["disk_full"])
            return CONTINUE
        action = self.run.report(record, result)
        if last_epoch(record) > self._furthest.get(record.name, 0):
            self._furthest[record.name] = last_epoch(record)
            set_failures(trial, 0)  # Ray counts the attempts without progress
        self.progress.update(record)
        if action == PAUSE and result.get(WITHOUT_STATE) and not self._told_of_pauses:
            self._told_of_pauses = True
            self.progress.say(NOTHING_SAVED)
        if result.get("error_message"):
            self._show_frames(record, result.get("frames", ()))
        return action

    def _show_frames(self, record: TrialRecord, frames: Iterable[str]) -> None:
        """Print where in a user's code a trial failed, and the file of the full traceback."""
        log = self.run.output_dir / record.name / ERROR_LOG
        for line in (*frames, *([f"full traceback: {log}"] if log.exists() else [])):
            self.progress.warn(f"    {line}")

    def on_checkpoint(
        self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any
    ) -> None:
        """Keep a trial's newest states. Ray could too, but it would write a snapshot each time."""
        states = self._states.setdefault(trial.trial_id, [])
        states.append(checkpoint)
        while len(states) > STATES_KEPT:
            old = states.pop(0)
            old.filesystem.delete_dir(old.path)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._trials = trials
        self.poll()
        self.run.recorder.write_due()
        self._resources.look(trials)
        for name in self._watch.hanging():
            self._end_hanging(name, trials)
        self.progress.refresh()
        if self.run.recorder.failure and not self.is_ending():
            self.end_run()

    def release(self, record: TrialRecord) -> None:
        """End the process of a trial that an order stopped or paused; its states are saved.

        A trial that waits for resources is ended when it gets them, since Ray has no other way.
        """
        for trial in self._trials:
            if trial.status in ("PENDING", "RUNNING") and self._record(trial) is record:
                self._released.add(trial.trial_id)
                trial.config |= {BY_ORDER: True, PAUSED: not record.is_finished}
                if trial.status == "RUNNING":
                    _kill(trial)
        self._watch.end(record.name)
        self.progress.update(record)

    def _end_hanging(self, name: str, trials: list[Any]) -> None:
        """Kill the process of a trial that hangs past its deadline."""
        record = self.run.records[name]
        for trial in trials:
            if trial.status == "RUNNING" and self._record(trial) is record:
                if not record.is_finished:
                    why = {} if record.epochs else {"error_message": NO_EPOCH_IN_TIME}
                    self.run.report(record, {**why, "stop_reason": TRIAL_TIMEOUT})
                    self.progress.update(record)
                _kill(trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Stop watching a trial that returned or was stopped."""
        self._watch.end(self._record(trial).name)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Print why Ray retries a trial."""
        error, name = latest_error(trial), self._record(trial).name
        self._watch.end(name)
        if DRAINED.search(error):
            set_failures(trial, failures_of(trial) - 1)  # a drained node is not a failed attempt
            self.progress.say(f"{name}: its node is being drained; it continues on another node")
        elif self._record(trial).config_used.batch_size > 1 and self._was_out_of_memory(error):
            self._retry_with_less(trial)
        elif not self._avoid_unreachable(error):
            self.progress.say(f"{name}: retrying after {shown(message_of(error))}")
            self._log_lost_process(name, error)

    def _was_out_of_memory(self, error: str) -> bool:
        """Whether the kernel ended a trial's process because memory ran out."""
        return PROCESS_WENT_AWAY.search(error) is not None and self._oom_kills.explain_a_death()

    def _retry_with_less(self, trial: Any) -> None:
        """Have Ray's next attempt use half the batch; the last one does not count as failed."""
        record = self._record(trial)
        halve_batch(record, KERNEL)
        trial.config["config"] = without_model_file(record.config_used).to_dict()
        set_failures(trial, failures_of(trial) - 1)
        self.run.recorder.changed(record)

    def _log_lost_process(self, name: str, error: str) -> None:
        """Log the death of a process, which it could not log itself."""
        if PROCESS_WENT_AWAY.search(error):
            log_error(self.run.output_dir / name, error)

    def _avoid_unreachable(self, error: str) -> bool:
        """Return whether a node cannot reach the storage; it gets no more trials then."""
        found = BLIND.search(error)
        if found and self.cluster.avoid(found["node"]):
            self.progress.say(f"{found['problem']}; no more trials start on this node")
        return found is not None

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        record = self._record(trial)
        if trial.trial_id in self._released:
            return
        self._watch.end(record.name)
        if record.is_finished or self.is_ending():
            return
        error = latest_error(trial)
        if SAYS_DISK_FULL.search(error):
            self.run.recorder.fail(f"{record.name}: {shown(message_of(error))}")
            return
        if self._is_to_continue(record, error):
            self.lost.add(record.name)
            self.run.lose(record)
            self.progress.update(record)
        else:
            self._fail(record, error)

    def _is_to_continue(self, record: TrialRecord, error: str) -> bool:
        """Whether a trial that Ray gave up is run again instead of having failed."""
        if self._avoid_unreachable(error) or DRAINED.search(error) or LOW_ON_MEMORY in error:
            return True
        if self._was_out_of_memory(error):
            halve_batch(record, KERNEL)
            return not record.is_finished
        made_progress = self._furthest.get(record.name, 0) > self._begun.get(record.name, 0)
        return made_progress and PROCESS_WENT_AWAY.search(error) is not None

    def _fail(self, record: TrialRecord, error: str) -> None:
        """End a failed trial and show the frames of the user's code."""
        self._log_lost_process(record.name, error)
        message = record.error_message or message_of(error)
        self.run.report(record, {"error_message": message, "stop_reason": "error"})
        self.progress.update(record)
        self._show_frames(record, own_frames(error))


def _kill(trial: Any) -> None:
    """Kill the process of a Ray trial, which Ray does not retry."""
    set_failures(trial, trial.max_failures)
    ray.kill(actor_of(trial))


def last_epoch(record: TrialRecord) -> int:
    """Return the last epoch that a trial reported; 0 before the first."""
    return int(record.epochs[-1]["epoch"]) if record.epochs else 0
