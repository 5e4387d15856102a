"""Ray itself: where it runs, what it says, what it has. What runs in it stands elsewhere."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.files import follow_no_link
from raytune_ocr.tune.cluster import head_watchdog as head
from raytune_ocr.tune.cluster.autoscaler import may_be_there
from raytune_ocr.tune.cluster.node_checks import modules_to_ship
from raytune_ocr.tune.cluster.placement import evened, fits, node_types, places, problem, waits_for
from raytune_ocr.tune.cluster.ray_client import RECONNECT_SECONDS, is_client
from raytune_ocr.tune.cluster.ray_patches import free_resources, no_signal_handlers
from raytune_ocr.tune.options import SHARED_GPU

RAY_LOG = "ray.log"
JOIN_TRIES = 3
SHORT_FOLDER = "/tmp/ray"  # as Ray has it where there is no TMPDIR
LONGEST_FOLDER = 38  # of 107 characters of a socket's path; Ray's own names take the others
JOIN_SECONDS = 30.0  # until a node that was started with the others has joined
MOST_PENDING = 1000  # trials that Ray is asked for before one starts; itself, it would take one
MOST_CPUS = 4  # that a trial is given more than it asks for


class Cluster:
    """This machine's own Ray, a cluster's, or one that is up already in this process.

    Args:
        address: of a cluster; None: what RAY_ADDRESS says, else this machine alone.
        log_folder: Ray's own words go to `ray.log` in there.
    """

    def __init__(self, address: str | None, log_folder: Path) -> None:
        self.address = address or os.environ.get("RAY_ADDRESS")
        self.log_file = log_folder / RAY_LOG
        self._avoided: dict[str, Any] = {}  # what keeps trials from nodes, by the node's id

    @contextmanager
    def running(self, imports: Iterable[str] = ()) -> Iterator[None]:
        """Ray is up inside; what was started or joined here is left at the end.

        Args:
            imports: modules that trials import: a cluster is sent the user's own.

        Raises:
            ConfigurationError: when there is no cluster at the address, or one of another version.
        """
        prepare_environment(local=self.address is None)
        import ray

        if ray.is_initialized():
            yield
            return
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address:
            settings["address"] = self.address
            if modules := modules_to_ship(imports):
                settings["runtime_env"] = {"py_modules": modules}
        else:
            settings.update(address="local", include_dashboard=False)
            if folder := session_folder():
                settings["_temp_dir"] = folder
        with self.silenced(), self._told_of_address():
            if self.address:
                head.find(self.address)
            with no_signal_handlers():
                _join(settings)
        try:
            yield
        finally:
            with self.silenced():
                ray.shutdown()

    @contextmanager
    def _told_of_address(self) -> Iterator[None]:
        """A cluster that cannot be joined is an error of the address, with Ray's words in it."""
        from ray.exceptions import RayError

        try:
            yield
        except (ConnectionError, ImportError, RayError, RuntimeError, ValueError) as error:
            if self.address is None:
                raise
            hint = "; Ray Client needs pip install 'raytune-ocr[cluster]'"
            raise ConfigurationError(
                f"--address: no Ray cluster that can be joined at {self.address}: {error}"
                + (hint if isinstance(error, ImportError) else "")
            ) from None

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Ray's own words go to the log file; errors still raise."""
        for name in ("ray", "ray.tune", "ray.train"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with (
            open(self.log_file, "a", encoding="utf-8", opener=follow_no_link) as log,
            redirect_stdout(log),
            redirect_stderr(log),
        ):
            yield

    def nodes(self) -> list[dict[str, float]]:
        """What each node that is up has."""
        import ray

        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    def offers(self) -> list[dict[str, float]]:
        """What each node has that is up or, as far as that is known, may be started."""
        return [*self.nodes(), *((self.address and node_types()) or [])]

    def request(self, cpus: float, gpus: float | None, memory: int) -> dict[str, float]:
        """What one trial asks of a node.

        Args:
            gpus: None: a share of one if any node has or may have one.
            memory: bytes that it is expected to take; `evened` where nodes have plenty. Where no
                node has as much, all that one has is asked for, so that a trial has a node to
                itself; where a node that fits does not tell its memory, none is.
        """
        offers = self.offers()
        if gpus is None:
            gpus = SHARED_GPU if any(node.get("GPU", 0) for node in offers) else 0.0
        request = {"cpu": cpus, **({"gpu": gpus} if gpus else {})}
        fitting = [node for node in offers if fits(request, node)]
        if fitting and all(node.get("memory") for node in fitting):
            most = max(node["memory"] for node in fitting)
            request["memory"] = min(evened(memory, cpus, fitting), most)
        return request

    def places(self, request: Mapping[str, float]) -> int:
        """Trials of that request that Ray has room for at a time; one at least."""
        return max(1, places(request, self.nodes()))

    @property
    def may_grow(self) -> bool:
        """Whether nodes may be added for trials that wait, as an autoscaler does.

        Not every one tells Ray what it may add (KubeRay's does not), so each cluster may.
        """
        return self.address is not None

    def share(self, request: Mapping[str, float], trials: int) -> float:
        """CPUs for each of so many trials, so that all of them run at a time.

        What is asked for at least; `MOST_CPUS` at most, since the models are small.
        """
        nodes = self.nodes()
        wider = (
            cpus
            for cpus in range(MOST_CPUS, int(request["cpu"]), -1)
            if places({**request, "cpu": cpus}, nodes) >= trials
        )
        return float(next(wider, request["cpu"]))

    def check(self, request: Mapping[str, float]) -> None:
        """A request that can never be met would wait for ever; say so in time.

        An autoscaler that does not tell which nodes it may add is waited for, and so are workers of
        a head that runs no trials itself; what for, is told as soon as trials wait. Otherwise nodes
        that were started together may be about to join.

        Raises:
            ConfigurationError: when no node that is up or may be started can run a trial.
        """
        wrong = problem(request, self.offers())
        if not wrong:
            return
        if not self.may_grow or node_types() is not None or "whole number" in wrong:
            raise ConfigurationError(wrong)
        if self.may_autoscale() or not any(offer.get("CPU") for offer in self.offers()):
            return
        until = time.monotonic() + JOIN_SECONDS
        while wrong := problem(request, self.offers()):
            if time.monotonic() > until:
                raise ConfigurationError(f"{wrong}, and the cluster has no autoscaler to add one")
            time.sleep(1)

    def may_autoscale(self) -> bool:
        """Whether anything tells of an autoscaler that does not tell which nodes it may add."""
        import ray

        return may_be_there(ray.nodes())

    def waits_for(self, request: Mapping[str, float]) -> str:
        """What a pending trial of that request waits for; "" when it is about to start."""
        import ray

        there = ray.remote(num_cpus=0)(free_resources)
        asked = ray.get(there.remote()) if is_client() else free_resources()
        return waits_for(request, self.nodes(), asked)

    def avoid(self, node: str) -> bool:
        """No trial starts on the node of that id any more; False: it is avoided already.

        Something idle takes all that it has, as soon as that is free.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = next((n["Resources"] for n in ray.nodes() if n["NodeID"] == node), None)
        if there is None or node in self._avoided:
            return False
        self._avoided[node] = (
            ray.remote(_Idle)
            .options(
                num_cpus=there.get("CPU", 0),
                num_gpus=there.get("GPU", 0),
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote()
        )
        return True


def session_folder() -> str | None:
    """Return where a Ray of this machine keeps its sessions; None: where it does by itself.

    The paths of its sockets, which stand in there, are limited by the system.

    Raises:
        ConfigurationError: RAY_TMPDIR is longer than that.
    """
    asked = os.environ.get("RAY_TMPDIR")
    if len(os.fsencode(asked or tempfile.gettempdir())) <= LONGEST_FOLDER:
        return None
    if asked:
        raise ConfigurationError(
            f"RAY_TMPDIR: must have at most {LONGEST_FOLDER} characters, since sockets stand in "
            f"there, got {asked}; unset it or name a shorter folder"
        )
    return SHORT_FOLDER


def _join(settings: Mapping[str, Any]) -> None:
    """Start or join Ray; again where a busy head did not start a client's server in Ray's time."""
    import ray

    for left in reversed(range(JOIN_TRIES)):
        try:
            ray.init(**settings)
            return
        except (ConnectionError, RuntimeError) as error:
            if not left or "Starting Ray client server failed" not in str(error):
                raise


class _Idle:
    """Does nothing."""


def prepare_environment(local: bool) -> None:
    """What has to stand in the environment before Ray is imported."""
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no accuracy
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # epochs.csv and TensorBoard are written here
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # signals.py has one
        "TUNE_MAX_PENDING_TRIALS_PG": str(MOST_PENDING),
        "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # Ray's own snapshots are not used
        "TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE": "1",  # nor what it keeps of each state
        "RAY_CLIENT_RECONNECT_GRACE_PERIOD": RECONNECT_SECONDS,
    }
    if local:
        defaults["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # of this run's own Ray, in no file
        defaults["RAY_raylet_start_wait_time_s"] = "120"  # 30 are too few on a busy machine
        defaults["RAY_memory_monitor_refresh_ms"] = "0"  # it would end the whole run
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
