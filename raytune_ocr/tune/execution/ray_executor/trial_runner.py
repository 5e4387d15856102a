"""Train the trials of a run on Ray, and end them when the run is over.

Trials save their states as Ray checkpoints in their folders, and start from the newest intact one.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from raytune_ocr.errors import ExperimentFailedError
from raytune_ocr.plugins import check_trusted
from raytune_ocr.results.aggregate import ranking
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.cluster.cluster import Cluster
from raytune_ocr.tune.cluster.head_watchdog import RAYLET_PATIENCE, raylet_address, watched
from raytune_ocr.tune.cluster.node_checks import Mark, check_nodes
from raytune_ocr.tune.cluster.ray_client import controller_here, is_client
from raytune_ocr.tune.cluster.ray_patches import lean_controller, reuse_idle_workers
from raytune_ocr.tune.execution.circumstances import code_fingerprints, data_fingerprints
from raytune_ocr.tune.execution.cleanup import remove_ray_state
from raytune_ocr.tune.execution.console import ProgressReport
from raytune_ocr.tune.execution.data_loading import Invalid, load_data
from raytune_ocr.tune.execution.order_desk import OrderDesk
from raytune_ocr.tune.execution.ray_executor.out_of_memory import halve_batch, killed_by_monitor
from raytune_ocr.tune.execution.ray_executor.trial_request import TrialRequests
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.execution.signals import Interruptions
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.storage.storage import Storage
from raytune_ocr.tune.tracking.registry import reach_trackers, trackers
from raytune_ocr.tune.tracking.tensorboard import add_pictures

if TYPE_CHECKING:
    from raytune_ocr.tune.execution.ray_executor.ray_callback import RayCallback

FUTILE_ROUNDS = 3


class TrialRunner:
    """Trains the trials of a run on a Ray cluster.

    Args:
        run: the run.
        cluster: on which its trials train.
        options: of the run.

    Attributes:
        resume_command: how to resume, for the message of a stopped run.
        interruptions: handles Ctrl-C and SIGTERM.
        mark: the marker file that every node of a cluster must be able to read.
        desk: takes orders of users.
    """

    def __init__(self, run: Run, cluster: Cluster, options: TuneOptions) -> None:
        self.run = run
        self.cluster = cluster
        self.options = options
        self.requests = TrialRequests(run, cluster, options)
        self.resume_command = "the same arguments and resume=True"
        self.interruptions = Interruptions(self._kill_trials, self._save_and_say_how_to_resume)
        self.mark: Mark | None = None
        self.desk = OrderDesk(run)
        self._callback: RayCallback | None = None
        self._begun = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles the objects of bound methods; nothing reads this one

    def train(self, unfinished: list[TrialRecord], resuming: bool) -> None:
        """Train the search, then the confirming trials; repeat for trials with lost processes.

        Raises:
            ConfigurationError, DataLoaderError, ModelCreationError: before any trial starts.
            ExperimentFailedError: several attempts in a row made no progress.
        """
        run, self._begun = self.run, time.monotonic()
        # The best trials of an earlier part may be confirmed with other seeds.
        best = ranking(run.records.values())[: self.options.confirm or 0]
        named = run.study.plan.space.imports
        for record in best:  # their configs may come from the journal
            check_trusted(record.config.imports, named, f"{run.journal.path}: {record.name}")
        possible = [*run.possible(unfinished), *best]
        data, invalid = load_data(possible, self.options.allow_outside)
        run.note_data(data_fingerprints(possible, data))
        run.note_code(code_fingerprints(possible))
        unfinished = self._without_invalid(unfinished, invalid)
        self.interruptions = Interruptions(self._kill_trials, self._save_and_say_how_to_resume)
        imports = list(dict.fromkeys(name for r in possible for name in r.config.imports))
        with (
            self.interruptions,
            self._running_ray(imports),
            self._watched_head(),
            self._trusted_nodes(imports),
        ):
            for record in possible:
                self.cluster.check(self.requests.resources(record))
            reach_trackers(self.options.track, run.output_dir, run.id)
            if not resuming:  # only after every check has passed
                run.forget_old()
            run.save_state()
            run.save_results()  # `analyze --watch` reads them from the first epoch on
            run.budget.begin()
            futile = 0
            while unfinished and futile < FUTILE_ROUNDS:
                before = run.progress
                if not self._fit(unfinished, data) or self.ending or run.recorder.failure:
                    return
                futile = 0 if run.progress > before else futile + 1
                self.desk.take_all()  # the last ones may add or extend a trial
                unfinished = run.next()
                run.save_state()
                run.save_results()
        if unfinished:
            raise ExperimentFailedError(
                f"{futile} attempts in a row made no progress (node lost or out of memory); "
                "run again with --resume when the nodes are healthy"
            )

    def _without_invalid(
        self, records: list[TrialRecord], invalid: Iterable[Invalid]
    ) -> list[TrialRecord]:
        """Fail the trials with a model that cannot be built; return the others."""
        for record, why in invalid:
            if any(record is one for one in records):  # not an example of a later draw
                values = ", ".join(f"{name}={value!r}" for name, value in record.sampled.items())
                message = f"ModelCreationError: with {values}: {why}"
                self.run.report(record, {"error_message": message, "stop_reason": "error"})
                print(f"{record.name}: failed: {record.error_message}", file=sys.stderr)
        return [record for record in records if not record.is_finished]

    @contextmanager
    def _running_ray(self, imports: Sequence[str]) -> Iterator[None]:
        """Start Ray, and stop it at the end; signals wait until Ray is up."""
        with ExitStack() as stack:
            with self.interruptions.deferred():
                stack.enter_context(self.cluster.running(imports))
                self.interruptions.install()  # Ray's own SIGTERM handler aborts
            yield

    @contextmanager
    def _watched_head(self) -> Iterator[None]:
        """Print an error if the head node goes away, before Ray ends this process."""
        import ray

        if is_client():  # Ray Client raises in this thread instead
            yield
            return
        address, raylet = ray.get_runtime_context().gcs_address, raylet_address()
        who = "--address: the cluster's head node" if self.cluster.address else "this run's own Ray"

        def gone(what: str, why: str) -> None:
            print(f"error: {what} is gone: {why}", file=sys.__stderr__, flush=True)
            try:
                self._save_and_say_how_to_resume(needs_cluster=bool(self.cluster.address))
            finally:
                os._exit(1)

        manager = f"the raylet of this machine at {raylet}, which starts its trials,"
        with (
            watched(address, partial(gone, f"{who} at {address}")),
            watched(raylet, partial(gone, manager), RAYLET_PATIENCE),
        ):
            yield

    @contextmanager
    def _trusted_nodes(self, imports: Sequence[str]) -> Iterator[None]:
        """Check that every node can read and write the run's files, also nodes that join later."""
        storage = self.run.copy.storage
        if not (storage or self.cluster.address):
            yield
            return
        self.mark = Mark(storage or Storage.at(self.run.output_dir))
        self.mark.leave()
        try:
            check_nodes(self.mark, imports)
            yield
        finally:
            self.mark.remove()

    # One run of Ray's tuner

    def _fit(self, records: Sequence[TrialRecord], data: dict[str, Any]) -> bool:
        """Train `records` and the trials that follow; return whether another round may start."""
        from raytune_ocr.tune.execution.ray_executor.ray_callback import RayCallback

        run, confirming = self.run, bool(records[0].confirms)
        done = set(run.records) - set(run.unfinished)
        run.study.restart()
        progress = ProgressReport(run.records, self.options.quiet, self._begun)
        callback = RayCallback(
            run,
            self.cluster,
            progress,
            self.interruptions.end_run,
            lambda: self.ending,
            self.desk.poll,
        )
        self._callback = callback
        self.desk.say = progress.say
        run.orders.on_release, run.orders.on_end = callback.release, self.interruptions.end_run
        run.orders.check_resources = self._check_resources
        with progress, controller_here(), lean_controller():
            queue = list(records)
            next_trial = partial(_first, queue) if confirming else self._next_trial
            tuner = self._tuner(next_trial, confirming, data, callback)
            try:
                with self.interruptions.trials_run(), self.cluster.silenced():
                    tuner.fit()
            except RuntimeError as error:
                if not self._survives(error, callback):
                    raise
                return True
            except ConnectionError as error:  # Ray Client cannot reach the head again
                raise ExperimentFailedError(
                    f"--address: lost the connection to the cluster ({error}); run again with "
                    "--resume when the cluster is back; finished epochs are saved"
                ) from None
            finally:
                remove_ray_state(run.output_dir)
        run.cut()
        run.write_finished()
        add_pictures((r for r in run.records.values() if r.name not in done), data)
        left = (run.records[name] for name in run.unfinished)
        return all(r.name in callback.lost or r.status == "paused" for r in left)

    def _tuner(
        self,
        next_trial: Callable[[], TrialRecord | None],
        confirming: bool,
        data: dict[str, Any],
        callback: RayCallback,
    ) -> Any:
        """Return Ray's tuner, which calls `next_trial` when resources are free."""
        from ray import tune

        from raytune_ocr.tune.execution.ray_executor.ray_adapters import (
            BudgetStopper,
            NoReporter,
            RayScheduler,
            RaySearchAlgorithm,
            RaySearcher,
            placement,
        )
        from raytune_ocr.tune.execution.ray_executor.trainable import trial

        reuse_idle_workers()
        run = self.run
        most = self.requests.max_concurrent(confirming)
        wait = self._wait_for_order if not confirming else lambda: False
        searcher = RaySearcher(next_trial, self.requests.settings, most, wait)
        trainable = tune.with_parameters(trial, data=data, storage=run.copy.storage, mark=self.mark)
        return tune.Tuner(
            tune.with_resources(trainable, placement),
            param_space={},
            tune_config=tune.TuneConfig(
                metric="best_score",
                mode="max",
                num_samples=-1,
                search_alg=RaySearchAlgorithm(searcher),
                scheduler=RayScheduler(callback.report),
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=run.output_dir.name,
                storage_path=str(run.output_dir.parent),
                verbose=0,
                progress_reporter=NoReporter(),
                stop=BudgetStopper(run.budget.is_exhausted if confirming else run.budget.spent),
                failure_config=tune.FailureConfig(max_failures=self.options.max_failures),
                callbacks=[callback, *trackers(self.options.track, run.output_dir, run.id)],
            ),
        )

    def _next_trial(self) -> TrialRecord | None:
        self.desk.poll()
        return self.run.next_trial()

    def _wait_for_order(self) -> bool:
        """Wait a moment for an order to resume a trial; False if there is no such trial."""
        run = self.run
        if (
            self.ending
            or run.recorder.failure
            or run.budget.spent()
            or not run.study.waits_for_orders
        ):
            return False
        self.desk.wait()
        run.recorder.write_due()
        return True

    def _check_resources(self, record: TrialRecord) -> None:
        self.cluster.check(self.requests.resources(record))

    def _survives(self, error: RuntimeError, callback: RayCallback) -> bool:
        """Return whether Ray's memory monitor caused it; halve the batch of the largest trial."""
        killed = killed_by_monitor(error)
        if killed is None:
            return False
        ended = [actor for actor in killed if actor in callback.records]
        if ended:  # it may have killed several because of one
            record = callback.records[max(ended, key=lambda actor: killed[actor])]
            halve_batch(record)
            self.run.lose(record)
        return True

    # Its end

    @property
    def ending(self) -> bool:
        """Whether the run is ending before its trials have finished."""
        return self.interruptions.ending

    def _kill_trials(self) -> None:
        """Kill the processes of this run's trials; a resume continues from their states."""
        import ray

        for actor in self._callback.actors.values() if self._callback else ():
            ray.kill(actor)

    def _save_and_say_how_to_resume(self, needs_cluster: bool = False) -> None:
        when = " when the cluster is back" if needs_cluster else ""
        line = f"stopped; resume{when} with: {self.resume_command}"
        print(line, file=sys.__stderr__, flush=True)
        self.run.save_results()
        self.run.copy.push(now=True)


def _first(queue: list[TrialRecord]) -> TrialRecord | None:
    """Take the next confirming trial."""
    return queue.pop(0) if queue else None


def _trial_name(trial: Any) -> str:
    return str(trial.config["experiment_name"])
