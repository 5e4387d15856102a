"""Use private parts of Ray 2.60; no other module does."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

RAYLET_ENDED = "its raylet has ended"
STORAGE_MARKER = ".validate_storage_marker"  # Ray leaves it in a folder that it can write to


def reuse_idle_workers() -> None:
    """Let trials run in Ray's idle worker processes.

    Ray Tune gives each trial a runtime environment for one variable, so that no idle worker matches
    and a new one starts, which imports Ray twice. `trial` sets that variable itself.
    """
    from ray.tune.execution import class_cache

    class_cache.DEFAULT_ENV_VARS.clear()


def trial_of_ray(
    folder: Path, name: str, trial_id: str, config: dict[str, Any], **settings: Any
) -> Any:
    """Return Ray's own trial object, as its snapshots contain it.

    Args:
        folder: of the run.
        name: of the trial, and of its folder.
        **settings: further arguments of `ray.tune.experiment.Trial`.
    """
    from ray.train._internal.storage import StorageContext
    from ray.tune import PlacementGroupFactory
    from ray.tune.experiment import Trial

    asked = PlacementGroupFactory([{"CPU": 1.0}])
    storage = StorageContext(str(folder.parent), folder.name, trial_dir_name=name)
    (folder / STORAGE_MARKER).unlink(missing_ok=True)
    trial: Any = Trial(
        "raytune_ocr", config=config, trial_id=trial_id, storage=storage, stub=True, **settings
    )
    trial.placement_group_factory = asked
    trial.experiment_tag = trial.custom_trial_name = trial.relative_logdir = name
    return trial


def actor_of(trial: Any) -> Any:
    """Return the actor that runs a Ray trial."""
    return trial.temporary_state.ray_actor


def actor_id(trial: Any) -> str:
    """Return the id of the actor that runs a Ray trial."""
    return str(actor_of(trial)._actor_id.hex())


def set_failures(trial: Any, number: int) -> None:
    """Set how many attempts of a Ray trial count as failed.

    Ray retries the trial until they are more than `max_failures`, whatever it failed of.
    """
    trial.run_metadata.num_failures = max(0, number)


def failures_of(trial: Any) -> int:
    """Return how many attempts of a Ray trial count as failed."""
    return int(trial.run_metadata.num_failures)


def bootstrap_address(address: str) -> str | None:
    """Return the cluster's HOST:PORT for an address; for `auto` this machine's, or None."""
    from ray._private.services import canonicalize_bootstrap_address

    found: str | None = canonicalize_bootstrap_address(address)
    return found


def free_resources() -> list[dict[str, float]]:
    """Return the free resources of each node; works only in Ray's own processes."""
    from ray._private.state import state

    return list(state.available_resources_per_node().values())


def drain_deadline() -> float | None:
    """Return when this process's node goes away, in seconds since 1970; None: it is not drained.

    `inf` if the drain notice has no deadline.
    """
    import ray
    from ray._private.state import state

    deadline = state.get_draining_nodes().get(ray.get_runtime_context().get_node_id())
    if deadline is None:
        return None
    return deadline / 1000 if deadline else math.inf


@contextmanager
def no_signal_handlers() -> Iterator[None]:
    """Keep Ray from installing its SIGTERM handler, which exits with status 15."""
    from ray._private import utils

    with standing_in(utils, "set_sigterm_handler", lambda handler: None):
        yield


@contextmanager
def own_process_group() -> Iterator[None]:
    """Start Ray's processes in a session of their own.

    A signal to the process group of a run, as of `tini -g` or a closed terminal, then reaches this
    process alone, which ends them in order. Ray ends a driver at once if its raylet is gone.
    """
    from ray._private import utils

    die_with_parent = utils.set_kill_on_parent_death_linux

    def prepare() -> None:  # called in the new process
        os.setsid()
        die_with_parent()

    with standing_in(utils, "set_kill_on_parent_death_linux", prepare):
        yield


@contextmanager
def patient_start(seconds: float) -> Iterator[None]:
    """Make Ray wait so long for its node to come up; it waits 30 s, too few on a busy machine.

    Raises:
        ConnectionError: the node's raylet ends meanwhile, as it does if its agent takes over 15 s.
    """
    from ray._private import services

    ask = services.get_node

    def get_node(*arguments: Any, **keywords: Any) -> Any:
        until = time.monotonic() + seconds
        while True:
            try:
                return ask(*arguments, **keywords)
            except RuntimeError:  # it is not registered yet
                if not _has_raylet():
                    raise ConnectionError(RAYLET_ENDED) from None
                if time.monotonic() >= until:
                    raise
            time.sleep(0.2)

    with standing_in(services, "get_node", get_node):
        yield


def _has_raylet() -> bool:
    """Whether a raylet that this process has started is running."""
    with suppress(psutil.NoSuchProcess):  # one may end meanwhile
        return any(
            each.name() == "raylet" and each.status() != psutil.STATUS_ZOMBIE
            for each in psutil.Process().children()
        )
    return False


@contextmanager
def session_folder_of_train(folder: str) -> Iterator[None]:
    """Make Ray Train keep a session's files in `folder` instead of its node's session folder."""
    from ray.train._internal import storage

    with standing_in(storage, "_get_ray_train_session_dir", lambda: folder):
        yield


def mlflow_runs(callback: Any) -> dict[Any, str]:
    """Return the ids of the MLflow runs that Ray's callback writes, by Ray trial, to change them.

    The callback would begin a new run for each start of a trial.
    """
    runs: dict[Any, str] = callback._trial_runs
    return runs


def complete_wandb_files(callback: type) -> type:
    """Let a subclass of Ray's W&B callback end no trial before its run's file is complete.

    Ray ends the process of its logging actor when `run` returns, and with it the process that still
    writes the file.
    """
    from ray.air.integrations.wandb import _WandbLoggingActor

    class Writer(_WandbLoggingActor):  # type: ignore[misc]
        def run(self) -> None:
            super().run()
            self._wandb.teardown()  # waits for the file

    callback._logger_actor_cls = Writer  # type: ignore[attr-defined]
    return callback


@contextmanager
def lean_controller() -> Iterator[None]:
    """Make Ray's controller in this process skip work that a run does not need.

    - Its snapshots are empty: only Ray's own restore would read them. Ray takes one at the start
      and, whatever its settings, one at the end, 5 ms per trial, and checks that the file exists.
    - It does not count callbacks for usage statistics, which imports every installed tracker, 2 s
      for MLflow and Weights & Biases.
    - It fetches the trainable from the head once, not four times per trial.
    """
    from ray.air._internal import usage
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    kept: dict[str, Any] = {}
    ask = Trial.get_trainable_cls

    def trainable(trial: Any) -> Any:
        if trial.trainable_name not in kept:
            kept[trial.trainable_name] = ask(trial)
        return kept[trial.trainable_name]

    with ExitStack() as stack:
        stack.enter_context(standing_in(TuneController, "save_to_dir", _touch))
        stack.enter_context(standing_in(usage, "tag_callbacks", lambda callbacks: False))
        stack.enter_context(standing_in(Trial, "get_trainable_cls", trainable))
        yield


def _touch(controller: Any) -> None:
    folder = Path(controller._storage.experiment_driver_staging_path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / controller.experiment_state_file_name).write_text("{}", encoding="utf-8")


@contextmanager
def standing_in(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace the attribute `name` of `owner` by `value` inside the `with` block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
