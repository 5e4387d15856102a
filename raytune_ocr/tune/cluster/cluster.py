"""Start or join Ray, redirect its output, and query its resources."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from pathlib import Path
from typing import Any

import psutil

from raytune_ocr.errors import ConfigurationError, ExperimentFailedError, RaytuneOCRError
from raytune_ocr.files import follow_no_link
from raytune_ocr.text import printable
from raytune_ocr.tune.cluster import head_watchdog as head
from raytune_ocr.tune.cluster.autoscaler import may_be_there
from raytune_ocr.tune.cluster.node_checks import modules_to_ship
from raytune_ocr.tune.cluster.placement import evened, fits, node_types, places, problem, waits_for
from raytune_ocr.tune.cluster.ray_client import RECONNECT_SECONDS, is_client
from raytune_ocr.tune.cluster.ray_patches import (
    RAYLET_ENDED,
    free_resources,
    no_signal_handlers,
    own_process_group,
    patient_start,
)
from raytune_ocr.tune.options import SHARED_GPU
from raytune_ocr.tune.storage.scratch import OWNER, owned, remove_ownerless

logger = logging.getLogger(__name__)

RAY_LOG = "ray.log"
JOIN_TRIES = 3
SHORT_FOLDER = "/tmp/ray"  # Ray's default without TMPDIR
LONGEST_FOLDER = 38  # of the 107 characters of a socket's path; Ray's names need the rest
JOIN_SECONDS = 20.0  # for nodes that start at the same time to join
MOST_PENDING = 1000  # pending trials that Ray accepts; its default is 1
START_WAIT = "RAY_raylet_start_wait_time_s"
TOO_SLOW = ("Starting Ray client server failed", RAYLET_ENDED)  # in an error's message
END_SECONDS = 10.0
LONGEST_REASON = 1000  # characters of Ray's message
LOG_BYTES = 16 * 2**20  # of a log file; each process of a trial has two, and two before them
MOST_CPUS = 4  # that a trial gets if CPUs would be idle


class Cluster:
    """A Ray on this machine, a cluster, or a Ray that this process has started already.

    Args:
        address: of a cluster; None: RAY_ADDRESS, else this machine alone.
        log_folder: the folder for Ray's output, `ray.log`.
    """

    def __init__(self, address: str | None, log_folder: Path) -> None:
        self.address = address or os.environ.get("RAY_ADDRESS")
        self.log_file = log_folder / RAY_LOG
        self._avoided: dict[str, Any] = {}  # actors that occupy nodes, by the node's id

    @contextmanager
    def running(self, imports: Iterable[str] = ()) -> Iterator[None]:
        """Start or join Ray, and shut it down or leave it at the end.

        Args:
            imports: modules that trials import; the user's own are sent to a cluster.

        Raises:
            ConfigurationError: there is no cluster at the address, or its Ray version differs.
            ExperimentFailedError: Ray does not start on this machine.
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
        with self.silenced(), self._explained():
            if self.address:
                head.find(self.address)
            patience: AbstractContextManager[None] = (
                nullcontext() if self.address else patient_start(_start_seconds())
            )
            with no_signal_handlers(), own_process_group(), patience:
                context = _join(settings)
        with nullcontext() if self.address else own_session(context.address_info["session_dir"]):
            try:
                yield
            finally:
                with self.silenced():
                    ray.shutdown()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn Ray's errors into one that names the address, or the logs and what to check."""
        try:
            yield
        except RaytuneOCRError:
            raise
        except Exception as error:  # Ray raises plain ones, too
            if self.address is None:
                why = printable(" ".join(str(error).split())[:LONGEST_REASON])
                _abandon_sessions()
                raise ExperimentFailedError(did_not_start(why, self.log_file)) from error
            hint = "; for Ray Client: pip install 'raytune-ocr[cluster]'"
            raise ConfigurationError(
                f"--address: cannot join a Ray cluster at {self.address}: {error}"
                + (hint if isinstance(error, ImportError) else "")
            ) from None

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Redirect Ray's output to the log file; errors still raise."""
        for name in ("ray", "ray.tune", "ray.train"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with (
            open(self.log_file, "a", encoding="utf-8", opener=follow_no_link) as log,
            redirect_stdout(log),
            redirect_stderr(log),
        ):
            yield

    def nodes(self) -> list[dict[str, float]]:
        """Return the resources of each node that is up."""
        import ray

        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    def offers(self) -> list[dict[str, float]]:
        """Return the resources of each node that is up or, if known, may be started."""
        return [*self.nodes(), *((self.address and node_types()) or [])]

    def request(self, cpus: float, gpus: float | None, memory: int) -> dict[str, float]:
        """Return the resources that a trial requests.

        Args:
            gpus: None: a share of one GPU if any node has or may have one.
            memory: bytes that the trial is expected to take; see `evened`. If no node has that
                much, the trial requests all memory of a node, and runs there alone. If a node does
                not report its memory, none is requested.
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
        """Return how many trials of that request fit at the same time, at least 1."""
        return max(1, places(request, self.nodes()))

    @property
    def may_grow(self) -> bool:
        """Whether an autoscaler may add nodes for waiting trials.

        Some do not report to Ray what they may add (KubeRay's), so any cluster may grow.
        """
        return self.address is not None

    def share(self, request: Mapping[str, float], trials: int) -> float:
        """Return the CPUs per trial with which `trials` trials run at the same time.

        At least the requested CPUs, at most `MOST_CPUS`, because the models are small.
        """
        nodes = self.nodes()
        wider = (
            cpus
            for cpus in range(MOST_CPUS, int(request["cpu"]), -1)
            if places({**request, "cpu": cpus}, nodes) >= trials
        )
        return float(next(wider, request["cpu"]))

    def check(self, request: Mapping[str, float]) -> None:
        """Check that a request can be met, so that no trial waits for ever.

        The request may wait for an autoscaler that does not report its nodes, and for the workers
        of a head without CPUs; the console then says what trials wait for. Otherwise wait a little
        for nodes that started at the same time.

        Raises:
            ConfigurationError: no node that is up or may be started can run a trial.
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
        """Whether there are signs of an autoscaler that does not report which nodes it may add."""
        import ray

        return may_be_there(ray.nodes())

    def waits_for(self, request: Mapping[str, float]) -> str:
        """Return what a pending trial of that request waits for; "" if it is about to start."""
        import ray

        there = ray.remote(num_cpus=0)(free_resources)
        asked = ray.get(there.remote()) if is_client() else free_resources()
        return waits_for(request, self.nodes(), asked)

    def avoid(self, node: str) -> bool:
        """Start no more trials on the node of that id; return False if it is avoided already.

        An idle actor takes all its resources as soon as they are free.
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


def did_not_start(why: str, log: Path) -> str:
    """Return the message of a Ray that does not start on this machine."""
    sessions = _sessions()
    newest = max(_own_sessions(), key=os.path.getmtime, default=sessions)
    return (
        f"Ray does not start on this machine: {why} (its output is in {log}, its logs are in "
        f"{newest}/logs); check that memory and space in {sessions} and /dev/shm are free; on a "
        "busy machine try again later; or start Ray with `ray start --head` and name it by "
        "--address auto"
    )


def _sessions() -> Path:
    """Return the folder of Ray's sessions on this machine."""
    temporary = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return Path(session_folder() or Path(temporary, "ray"))


def _own_sessions() -> list[Path]:
    """Return the session folders that this process has made."""
    return list(_sessions().glob(f"session_*_{os.getpid()}"))


def session_folder() -> str | None:
    """Return the folder for Ray's sessions on this machine; None: Ray's default.

    The system limits the length of the socket paths in it.

    Raises:
        ConfigurationError: RAY_TMPDIR is too long.
    """
    asked = os.environ.get("RAY_TMPDIR")
    if len(os.fsencode(asked or tempfile.gettempdir())) <= LONGEST_FOLDER:
        return None
    if asked:
        raise ConfigurationError(
            f"RAY_TMPDIR: must have at most {LONGEST_FOLDER} characters, the limit of socket "
            f"paths, got {asked}; unset it or name a shorter folder"
        )
    return SHORT_FOLDER


@contextmanager
def own_session(path: str) -> Iterator[None]:
    """Hold the session folder of this run's own Ray; remove it after a block without an error.

    Sessions of killed runs, and of runs that ended in an error, are removed at the beginning.
    """
    folder = Path(path)
    left = remove_ownerless(folder.parent.glob("session_*"))
    if left:
        logger.info("removed Ray sessions of %d earlier runs in %s", len(left), folder.parent)
    with owned(folder):
        yield
    shutil.rmtree(folder, ignore_errors=True)


def _join(settings: Mapping[str, Any]) -> Any:
    """Start or join Ray; retry where a busy machine was too slow for one of its processes."""
    import ray

    for left in reversed(range(JOIN_TRIES)):
        before = psutil.Process().children()
        try:
            context = ray.init(**settings)
            break
        except (ConnectionError, RuntimeError) as error:
            if not left or not any(reason in str(error) for reason in TOO_SLOW):
                raise
            _end_processes(set(psutil.Process().children()) - set(before))
            _abandon_sessions()
    return context


def _abandon_sessions() -> None:
    """Let the next run remove the sessions in which Ray did not start."""
    for folder in _own_sessions():
        with suppress(OSError):
            (folder / OWNER).write_text("\n")


def _end_processes(processes: Iterable[psutil.Process]) -> None:
    """End what an attempt to start Ray has left running."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(list(processes), timeout=END_SECONDS)


def _start_seconds() -> float:
    """Return how long to wait for Ray's node on this machine.

    Raises:
        ConfigurationError: the variable is not a number.
    """
    text = os.environ[START_WAIT]
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{START_WAIT}: must be seconds, got {text!r}") from None


class _Idle:
    """An actor that does nothing."""


def prepare_environment(local: bool) -> None:
    """Set environment variables that Ray reads when it is imported."""
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no accuracy
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # epochs.csv and TensorBoard are written here
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",  # signals.py has one
        "TUNE_MAX_PENDING_TRIALS_PG": str(MOST_PENDING),
        "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # Ray's own snapshots are not used
        "TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE": "1",  # nor its metrics of each checkpoint
        "RAY_CLIENT_RECONNECT_GRACE_PERIOD": RECONNECT_SECONDS,
    }
    if local:
        defaults["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # of this run's own Ray, in no file
        defaults[START_WAIT] = "120"
        defaults["RAY_memory_monitor_refresh_ms"] = "0"  # it would end the whole run
        defaults["RAY_ROTATION_MAX_BYTES"] = str(LOG_BYTES)  # else trials may fill the disk
        defaults["RAY_ROTATION_BACKUP_COUNT"] = "1"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
