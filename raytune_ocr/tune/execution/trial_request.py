"""What a trial asks Ray for, and what it is told through Ray."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from raytune_ocr.results.record import TrialRecord
from raytune_ocr.training.model_config import without_model_file
from raytune_ocr.tune.cluster.cluster import Cluster
from raytune_ocr.tune.execution.out_of_memory import memory_needed
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.execution.throttle import Throttle
from raytune_ocr.tune.options import TuneOptions

COUNT_SECONDS = 2.0  # from one count of what nodes have room for to the next


class TrialRequests:
    """Resources and settings of the trials of a run.

    Args:
        run: the run.
        cluster: knows what nodes have.
        options: of the run.
    """

    def __init__(self, run: Run, cluster: Cluster, options: TuneOptions) -> None:
        self.run = run
        self.cluster = cluster
        self.options = options

    def resources(self, record: TrialRecord) -> dict[str, float]:
        """What Ray is asked for: `cpu`, and `gpu` and `memory` (bytes) where they count."""
        asked, options = record.resources, self.options
        cpus = options.cpus_per_trial if asked.cpus is None else asked.cpus
        request = self.cluster.request(
            1.0 if cpus is None else cpus,
            options.gpus_per_trial if asked.gpus is None else asked.gpus,
            memory_needed(record, self.run.records.values()),
        )
        request |= {"memory": asked.memory} if asked.memory else {}
        study = self.run.study
        cohort = None if record.confirms else study.scheduler.cohort(study.trials)
        if cpus is None and cohort and not (options.max_concurrent or "gpu" in request):
            request["cpu"] = self.cluster.share(request, cohort)
        return request

    def settings(self, record: TrialRecord) -> dict[str, Any]:
        """The config of Ray's trial."""
        request, scheduler = self.resources(record), self.run.study.scheduler
        return {
            "experiment_name": record.name,
            "config": without_model_file(record.config_used).to_dict(),
            "threads": max(1, int(request["cpu"])),
            "timeout": self._time_left(record),
            "keeps_states": scheduler.pauses and not record.confirms,
            "request": request,
        }

    def _time_left(self, record: TrialRecord) -> float | None:
        """Seconds that a trial may still train; None: without end."""
        timeout = self.options.trial_timeout
        if timeout is None or record.confirms:
            return None
        return timeout - sum(row["seconds"] for row in record.epochs)

    def max_concurrent(self) -> Callable[[], int] | None:
        """How many trials at a time, where each suggestion is to know as many scores as it can."""
        plan, most = self.run.study.plan, self.options.max_concurrent
        if most:
            return lambda: most
        if not plan.adaptive:
            return None
        example, throttle, room = plan.examples()[0], Throttle(seconds=COUNT_SECONDS), 1

        def count() -> int:
            nonlocal room
            if throttle.ready():
                with throttle.measured():
                    room = self.cluster.places(self.resources(example))
            return room

        return count
