"""Every place that touches private parts of Ray 2.60."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

STORAGE_MARKER = ".validate_storage_marker"  # which Ray leaves in a folder that it can write to


def take_waiting_processes() -> None:
    """Have trials run in Ray's processes that are up and idle.

    Ray Tune gives each trial's process an environment of its own for the sake of one variable, so
    that none fits and each is started anew, importing Ray twice. `trial` sets that variable itself.
    """
    from ray.tune.execution import class_cache

    class_cache.DEFAULT_ENV_VARS.clear()


def trial_of_ray(
    folder: Path, name: str, trial_id: str, config: dict[str, Any], **settings: Any
) -> Any:
    """Ray's own record of a trial, as its snapshots hold it.

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


def bootstrap_address(address: str) -> str | None:
    """HOST:PORT of the cluster at an address; of `auto` that of this machine, None without one."""
    from ray._private.services import canonicalize_bootstrap_address

    found: str | None = canonicalize_bootstrap_address(address)
    return found


def free_resources() -> list[dict[str, float]]:
    """What nobody uses of each node; only Ray's own processes can ask."""
    from ray._private.state import state

    return list(state.available_resources_per_node().values())


def drain_deadline() -> float | None:
    """When this process's node is taken away, as seconds since 1970; None: nobody said it is.

    `inf` where the notice names no time.
    """
    import ray
    from ray._private.state import state

    deadline = state.get_draining_nodes().get(ray.get_runtime_context().get_node_id())
    if deadline is None:
        return None
    return deadline / 1000 if deadline else math.inf


@contextmanager
def no_signal_handlers() -> Iterator[None]:
    """Inside, Ray sets no handler of SIGTERM: its own ends this process with exit status 15."""
    from ray._private import utils

    with standing_in(utils, "set_sigterm_handler", lambda handler: None):
        yield


@contextmanager
def lean_controller() -> Iterator[None]:
    """Inside, the controller of this process leaves out what is of no use to a run.

    - Its snapshots are empty: only Ray's own restore would read them. It takes one as a run begins
      and, whatever its settings, as it ends, 5 ms for each trial; in the end it looks whether
      there is a file.
    - It does not count callbacks for its usage statistics, for which it would import every tracker
      that is installed, 2 s for MLflow and Weights & Biases.
    - It asks the head for the trainable once, not four times for each trial.
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
    """Inside, `value` is found where `owner` has its own `name`."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
