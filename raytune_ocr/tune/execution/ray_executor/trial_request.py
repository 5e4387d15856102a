"""Resources that a trial requests from Ray, and the config that it gets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

from raytune_ocr.results.record import TrialRecord
from raytune_ocr.training.model_config import without_model_file
from raytune_ocr.tune.cluster.cluster import Cluster
from raytune_ocr.tune.execution.ray_executor.out_of_memory import memory_needed
from raytune_ocr.tune.execution.recording.throttle import Throttle
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.options import SHARED_GPU, TuneOptions

COUNT_SECONDS = 2.0  # between two counts of free resources


class TrialRequests:
    """Resources and settings of the trials of a run.

    Args:
        run: the run.
        cluster: knows the resources of nodes.
        options: of the run.
    """

    def __init__(self, run: Run, cluster: Cluster, options: TuneOptions) -> None:
        self.run = run
        self.cluster = cluster
        self.options = options
        self._given: set[str] = set()  # trials that Ray has had

    def resources(self, record: TrialRecord) -> dict[str, float]:
        """Return the request: `cpu`, and if they matter `gpu` and `memory` (bytes)."""
        asked, options = record.resources, self.options
        cpus = options.cpus_per_trial if asked.cpus is None else asked.cpus
        gpus = options.gpus_per_trial if asked.gpus is None else asked.gpus
        if gpus is None and record.config.device.startswith("cuda"):
            gpus = SHARED_GPU  # also where no node has one yet: then the check of resources says so
        request = self.cluster.request(
            1.0 if cpus is None else cpus,
            gpus,
            memory_needed(record, self.run.records.values()),
        )
        request |= {"memory": asked.memory} if asked.memory else {}
        study = self.run.study
        cohort = None if record.confirms else study.cohort()
        if cpus is None and cohort and not (options.max_concurrent or "gpu" in request):
            request["cpu"] = self.cluster.share(request, cohort)
        return request

    def settings(self, record: TrialRecord) -> dict[str, Any]:
        """Return the config of Ray's trial."""
        request, scheduler = self.resources(record), self.run.study.scheduler
        again = record.name in self._given  # after an order, Ray keeps its files elsewhere
        self._given.add(record.name)
        return {
            "experiment_name": record.name,
            "config": without_model_file(record.config_used).to_dict(),
            "threads": max(1, int(request["cpu"])),
            "timeout": self._time_left(record),
            "keeps_states": (scheduler.pauses or again) and not record.confirms,
            "request": request,
        }

    def _time_left(self, record: TrialRecord) -> float | None:
        """Return the seconds that a trial may still train; None: no limit."""
        timeout = self.options.trial_timeout
        if timeout is None or record.confirms:
            return None
        return timeout - sum(row["seconds"] for row in record.epochs)

    def max_concurrent(self, confirming: bool = False) -> Callable[[], int]:
        """Return a function that counts the trials that Ray may hold: running and waiting ones.

        An autoscaler starts nodes for waiting trials, so a cluster that may grow gets all trials
        that may train now. Otherwise one trial waits, to start as soon as another ends; in an
        adaptive search none waits, so that each suggestion uses as many scores as possible.

        Args:
            confirming: count the confirming trials, which depend on no suggestion.
        """
        examples = {e.resources: e for e in self.run.study.plan.examples()}.values()
        adaptive = self.run.study.plan.adaptive and not confirming
        throttle, asked = Throttle(seconds=COUNT_SECONDS), 1

        def count() -> int:
            nonlocal asked
            if throttle.ready():
                with throttle.measured():
                    asked = self._asked(examples, adaptive)
            return asked

        return count

    def _asked(self, examples: Iterable[TrialRecord], adaptive: bool) -> int:
        most, plan = self.options.max_concurrent or sys.maxsize, self.run.study.plan
        if self.cluster.may_grow and (self.options.max_concurrent or not adaptive):
            return most
        room = max((self._places(example) for example in examples), default=1)
        if self.cluster.may_grow:
            return max(room + 1, plan.independent(self.run.study.trials))
        return min(most, room + (not adaptive))

    def _places(self, example: TrialRecord) -> int:
        """Return how many trials like this one fit now; Ray itself checks their memory."""
        request = self.resources(example)
        request.pop("memory", None)
        return self.cluster.places(request)
