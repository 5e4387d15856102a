"""Ray itself: where it runs, what it says, what it has. What runs in it stands elsewhere."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from raytune_ocr.errors import ConfigurationError

logger = logging.getLogger(__name__)

RAY_LOG = "ray.log"
SHARED_GPU = 0.25  # of a GPU for each trial by default: readers are small
FLAGS = {"cpu": "--cpus-per-trial", "gpu": "--gpus-per-trial", "memory": "resources: memory"}
KINDS = {"cpu": "CPU", "gpu": "GPU", "memory": "memory"}
UNITS = {"cpu": "CPUs", "gpu": "GPUs", "memory": "bytes"}


class Cluster:
    """This machine's own Ray, a cluster's, or one that is up already in this process.

    Args:
        address: of a cluster; None: what RAY_ADDRESS says, else this machine alone.
        log_folder: Ray's own words go to `ray.log` in there.
    """

    def __init__(self, address: str | None, log_folder: Path) -> None:
        self.address = address or os.environ.get("RAY_ADDRESS")
        self.log_file = log_folder / RAY_LOG

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ray is up inside; what was started or joined here is left at the end.

        Raises:
            ConfigurationError: when there is no cluster at the address.
        """
        prepare_environment(local=self.address is None)
        import ray

        if ray.is_initialized():
            yield
            return
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address:
            settings["address"] = self.address
        else:
            settings.update(address="local", include_dashboard=False)
        with self.silenced():
            try:
                ray.init(**settings)
            except ConnectionError as error:
                raise ConfigurationError(
                    f"--address: no Ray cluster at {self.address}: {error}"
                ) from None
        try:
            yield
        finally:
            with self.silenced():
                ray.shutdown()

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Ray's own words go to the log file; errors still raise."""
        for name in ("ray", "ray.tune", "ray.train"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with (
            self.log_file.open("a", encoding="utf-8") as log,
            redirect_stdout(log),
            redirect_stderr(log),
        ):
            yield

    def request(self, cpus: float, gpus: float | None) -> dict[str, float]:
        """What one trial asks for; without a word on GPUs, a share of one if there are any."""
        import ray

        if gpus is None:
            gpus = SHARED_GPU if ray.cluster_resources().get("GPU", 0) else 0.0
        return {"cpu": cpus, **({"gpu": gpus} if gpus else {})}

    def places(self, request: Mapping[str, float]) -> int:
        """Trials of that request that Ray has room for at a time; one at least."""
        import ray

        there = ray.cluster_resources()
        fits = [there.get(KINDS[kind], 0) // wanted for kind, wanted in request.items() if wanted]
        return max(1, int(min(fits, default=1)))

    def check(self, request: Mapping[str, float]) -> None:
        """A request that can never be met would wait for ever; say so at once.

        A cluster may grow: there it is told, and waited for.

        Raises:
            ConfigurationError: on this machine alone.
        """
        import ray

        there = ray.cluster_resources()
        for kind, flag in FLAGS.items():
            wanted, limit = request.get(kind, 0), there.get(KINDS[kind], 0)
            if wanted <= limit:
                continue
            problem = (
                f"{flag}: must be at most the {limit:g} {UNITS[kind]} that Ray has here, "
                f"got {wanted:g}"
            )
            if self.address is None:
                raise ConfigurationError(problem)
            logger.warning("%s; waiting for nodes that have them", problem)


def prepare_environment(local: bool) -> None:
    """What has to stand in the environment before Ray is imported."""
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no accuracy
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # epochs.csv and TensorBoard are written here
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # signals.py has one
        "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # Ray's own snapshots are not used
        "TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE": "1",  # nor what it keeps of each state
    }
    if local:
        defaults["RAY_AUTH_MODE"] = "disabled"
        defaults["RAY_raylet_start_wait_time_s"] = "120"  # 30 are too few on a busy machine
        defaults["RAY_memory_monitor_refresh_ms"] = "0"  # it would end the whole run
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
