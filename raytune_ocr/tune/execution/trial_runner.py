"""Ray's side of a run: it starts trials, hears of them, and ends them when the run is over.

Trials keep their states as Ray checkpoints in their folders, and start from the newest whole one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from raytune_ocr.errors import ExperimentFailedError
from raytune_ocr.results.record import TrialRecord, ranking
from raytune_ocr.training.model_config import without_model_file
from raytune_ocr.tune.cluster.cluster import Cluster
from raytune_ocr.tune.cluster.head_watchdog import watched
from raytune_ocr.tune.cluster.node_checks import Mark, check_nodes
from raytune_ocr.tune.cluster.ray_client import controller_here, is_client
from raytune_ocr.tune.cluster.ray_patches import lean_controller, take_waiting_processes
from raytune_ocr.tune.execution.cleanup import remove_ray_state
from raytune_ocr.tune.execution.console import ProgressReport
from raytune_ocr.tune.execution.data_loading import load_data
from raytune_ocr.tune.execution.out_of_memory import (
    go_on_with_less,
    killed_by_monitor,
    memory_needed,
)
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.execution.signals import Interruptions
from raytune_ocr.tune.execution.throttle import Pace
from raytune_ocr.tune.storage.storage import Storage
from raytune_ocr.tune.tracking.registry import reach_trackers, trackers
from raytune_ocr.tune.tracking.tensorboard import add_pictures

if TYPE_CHECKING:
    from raytune_ocr.tune.execution.ray_callback import DriverCallback

FUTILE_ROUNDS = 3
PLACES_SECONDS = 2.0  # from one count of what nodes have room for to the next


class Control:
    """Trains the trials of `run` on `cluster`.

    Attributes:
        resume_command: what a stopped run says is to be done next.
        interruptions: signals that came.
        actors: that run trials, by id.
        mark: what every node of a cluster must see.
    """

    def __init__(self, run: Run, cluster: Cluster) -> None:
        self.run = run
        self.cluster = cluster
        self.resume_command = "the same, and resume=True"
        self.interruptions = Interruptions(self._kill_trials, self._last_words)
        self.actors: dict[Any, Any] = {}
        self.mark: Mark | None = None
        run.stop = self.stop

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Ray pickles what it is given methods of; nothing reads that

    def train(self, unfinished: list[TrialRecord], resuming: bool) -> None:
        """Run the search, then what confirms it; and again what was lost for no fault of its own.

        Raises:
            ConfigurationError, DataLoaderError, ModelCreationError: before any trial starts.
            ExperimentFailedError: when that happens over and over and no trial gets on.
        """
        run = self.run
        # The best of those that an earlier part has finished may be trained again with other seeds.
        best = ranking(run.records.values())[: run.options.confirm or 0]
        possible = [*run.possible(unfinished), *best]
        data = load_data(possible, run.options.allow_outside)
        self.interruptions = Interruptions(self._kill_trials, self._last_words)
        imports = list(dict.fromkeys(name for r in possible for name in r.config.imports))
        with (
            self.interruptions,
            self.cluster.running(imports),
            self._watched_head(),
            self._trusted_nodes(imports),
        ):
            self.interruptions.install()  # Ray has set handlers of its own as it started
            for record in possible:
                self.cluster.check(self._request(record))
            reach_trackers(run.options.track, run.output_dir, run.id)
            if not resuming:  # not before all is known to be there
                run.forget_old()
            run.save_state()
            run.save_results()  # a report may watch from the first epoch on
            run.budget.begin()
            futile = 0
            while unfinished and futile < FUTILE_ROUNDS:
                before = run.progress
                if not self._fit(unfinished, data) or self.ending:
                    return
                futile = 0 if run.progress > before else futile + 1
                unfinished = run.next()
                run.save_state()
                run.save_results()  # which say that the best are confirmed now
        if unfinished:
            raise ExperimentFailedError(
                f"trials were ended {futile} times in a row before any of them got on, by lost "
                "nodes or for want of memory; go on with --resume when the nodes are better"
            )

    @contextmanager
    def _watched_head(self) -> Iterator[None]:
        """Where the head goes away inside, that is said before Ray ends this process."""
        import ray

        if is_client():  # which raises in this thread instead
            yield
            return
        address = ray.get_runtime_context().gcs_address
        who = "--address: the cluster's head node" if self.cluster.address else "this run's own Ray"

        def gone(why: str) -> None:
            print(f"error: {who} at {address} is gone: {why}", file=sys.__stderr__, flush=True)
            try:
                self._last_words("when there is a cluster again, " if self.cluster.address else "")
            finally:
                os._exit(1)

        with watched(address, gone):
            yield

    @contextmanager
    def _trusted_nodes(self, imports: Sequence[str]) -> Iterator[None]:
        """All nodes have been asked whether they can be used; later ones will be, inside."""
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

    # What a trial gets

    def _request(self, record: TrialRecord) -> dict[str, float]:
        """What Ray is asked for by a trial."""
        asked, options = record.resources, self.run.options
        cpus = options.cpus_per_trial if asked.cpus is None else asked.cpus
        request = self.cluster.request(
            1.0 if cpus is None else cpus,
            options.gpus_per_trial if asked.gpus is None else asked.gpus,
            memory_needed(record, self.run.records.values()),
        )
        request |= {"memory": asked.memory} if asked.memory else {}
        together = None if record.confirms else self.run.plan.together(self.run.records)
        if cpus is None and together and not (options.max_concurrent or "gpu" in request):
            request["cpu"] = self.cluster.share(request, together)
        return request

    def _settings(self, record: TrialRecord) -> dict[str, Any]:
        """What a trial is told through Ray."""
        request = self._request(record)
        return {
            "experiment_name": record.name,
            "config": without_model_file(record.config_used).to_dict(),
            "threads": max(1, int(request["cpu"])),
            "timeout": self._time_left(record),
            "until": self.run.plan.until(record),
            "keeps_states": self.run.plan.takes_turns and not record.confirms,
            "request": request,
        }

    def _time_left(self, record: TrialRecord) -> float | None:
        """Seconds that a trial may still train; None: without end."""
        timeout = self.run.options.trial_timeout
        if timeout is None or record.confirms:
            return None
        return timeout - sum(row["seconds"] for row in record.epochs)

    def _places(self) -> Callable[[], int] | None:
        """How many trials at a time, where each draw is to know as many results as it can."""
        plan, most = self.run.plan, self.run.options.max_concurrent
        if most:
            return lambda: most
        if not plan.adaptive:
            return None
        example, pace, room = plan.examples()[0], Pace(seconds=PLACES_SECONDS), 1

        def places() -> int:
            nonlocal room
            if pace.ready():
                with pace.measured():
                    room = self.cluster.places(self._request(example))
            return room

        return places

    # One run of Ray's tuner

    def _fit(self, records: Sequence[TrialRecord], data: dict[str, Any]) -> bool:
        """Train `records` and what is drawn after them; False: nothing may follow."""
        from raytune_ocr.tune.execution.ray_callback import DriverCallback
        from raytune_ocr.tune.schedulers.registry import create_scheduler

        run = self.run
        done = set(run.records) - set(run.unfinished)
        confirming = bool(records[0].confirms)
        scheduler = (
            None
            if confirming
            else create_scheduler(run.options, run.state, run.records, run.plan.examples())
        )
        progress = ProgressReport(run.records, run.options.quiet)
        with progress, controller_here(), lean_controller():
            callback = DriverCallback(self, scheduler, progress)
            tuner = self._tuner(records, data, scheduler, callback)
            try:
                with self.interruptions.trials_run(), self.cluster.silenced():
                    tuner.fit()
            except RuntimeError as error:
                if not self._survives(error, callback):
                    raise
                return True
            except ConnectionError as error:  # Ray Client's, when it cannot reach the head again
                raise ExperimentFailedError(
                    f"--address: the cluster is gone ({error}); go on with --resume when there is "
                    "one: what was noted is kept"
                ) from None
            finally:
                remove_ray_state(run.output_dir)
        run.cut()
        run.write_finished()
        add_pictures((r for r in run.records.values() if r.name not in done), data)
        left = (run.records[name] for name in run.unfinished)
        return all(r.name in callback.lost or run.plan.waits(r) for r in left)

    def _tuner(
        self,
        records: Sequence[TrialRecord],
        data: dict[str, Any],
        scheduler: Any,
        callback: DriverCallback,
    ) -> Any:
        """Ray's tuner of these records, and of others that come as places are free."""
        from ray import tune

        from raytune_ocr.tune.execution.ray_searcher import (
            AskedTrials,
            Asking,
            BudgetStopper,
            placement,
        )
        from raytune_ocr.tune.execution.trainable import trial

        take_waiting_processes()
        run, options = self.run, self.run.options
        confirming = bool(records[0].confirms)
        asked = AskedTrials(
            records if confirming else run.plan.ready(records),
            self._settings,
            more=(lambda: None) if confirming else run.draw,
            at_a_time=self._places(),
        )
        trainable = tune.with_parameters(trial, data=data, storage=run.copy.storage, mark=self.mark)
        return tune.Tuner(
            tune.with_resources(trainable, placement),
            param_space={},
            tune_config=tune.TuneConfig(
                metric="best_score",
                mode="max",
                num_samples=-1,
                search_alg=Asking(asked),
                scheduler=scheduler,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=run.output_dir.name,
                storage_path=str(run.output_dir.parent),
                verbose=0,
                stop=BudgetStopper(run.budget.out_of_time if confirming else run.budget.spent),
                failure_config=tune.FailureConfig(max_failures=1),
                callbacks=[callback, *trackers(options.track, run.output_dir, run.id)],
            ),
        )

    def _survives(self, error: RuntimeError, callback: DriverCallback) -> bool:
        """Whether it was Ray's memory monitor; the trial that took most goes on with less."""
        killed = killed_by_monitor(error)
        if killed is None:
            return False
        ended = [actor for actor in killed if actor in callback.actors]
        if ended:  # several may be, for the sake of one
            record = callback.actors[max(ended, key=lambda actor: killed[actor])]
            go_on_with_less(record)
            self.run.note(record)
        return True

    # Its end

    @property
    def ending(self) -> bool:
        """Whether the run is being ended before its trials are."""
        return self.interruptions.ending

    def stop(self, failure: str) -> None:
        """End the run in order, for a reason that no other trial would escape."""
        if not self.interruptions.ending:
            self.run.failure = failure
            self.interruptions.end_run()

    def _kill_trials(self) -> None:
        """End the processes of this run's trials; they are taken up from their states."""
        import ray

        for actor in self.actors.values():
            ray.kill(actor)

    def _last_words(self, when: str = "") -> None:
        words = f"stopped; {when}go on with: {self.resume_command}"
        print(words, file=sys.__stderr__, flush=True)
        self.run.save_results()
        self.run.copy.push(now=True)


def _trial_name(trial: Any) -> str:
    return str(trial.config["experiment_name"])
