"""One trial: what runs in a Ray worker. Ray comes in through `report` alone."""

from __future__ import annotations

import dataclasses
import gc
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from raytune_ocr.config.training_config import TrainingConfig, with_half_the_batch
from raytune_ocr.errors import (
    DETERMINISTIC_ERRORS,
    DivergenceError,
    NodeDrainedError,
    TrialTimeoutError,
)
from raytune_ocr.files import disk_full_in
from raytune_ocr.plugins import import_modules
from raytune_ocr.tasks.registry import task_of
from raytune_ocr.training.callbacks.base import Callback
from raytune_ocr.training.checkpoints.run_folder import ERROR_LOG
from raytune_ocr.tune.cluster.node_checks import Mark
from raytune_ocr.tune.cluster.ray_patches import drain_deadline
from raytune_ocr.tune.execution.circumstances import made_with
from raytune_ocr.tune.execution.ray_executor.energy import EnergyMeter
from raytune_ocr.tune.execution.ray_executor.node_drain import DrainNotice
from raytune_ocr.tune.execution.ray_executor.trial_timeout import TRIAL_TIMEOUT, Deadline
from raytune_ocr.tune.execution.trial_errors import (
    as_shown,
    log_error,
    own_frames,
    shown,
    traceback_of,
)
from raytune_ocr.tune.storage.mirror import Mirror, keep_state, newest_state
from raytune_ocr.tune.storage.scratch import SCRATCH, owned, remove_ownerless
from raytune_ocr.tune.storage.storage import Storage

logger = logging.getLogger(__name__)


Report = Callable[[dict[str, Any], "str | None"], None]


def run_trial(
    config: TrainingConfig,
    data: Any,
    report: Report,
    threads: int = 1,
    resume_from: Path | None = None,
    timeout: float | None = None,
    callbacks: Sequence[Callback] = (),
    reserved: Mapping[str, float] | None = None,
) -> None:
    """Train `config` and report each epoch, for `timeout` seconds at most.

    An error that every attempt would repeat is reported as `error_message` instead of raised, so
    that Ray does not retry the trial. When memory runs out, training continues from the last state
    with half the batch and twice the accumulation. A full disk is reported as `disk_full`, the end
    of the time as the stop reason `trial_timeout`. Tracebacks go to the trial's `error.log`.

    Args:
        reserved: `cpu` and `gpu` of the machine; None: nothing is known of its cost.

    Raises:
        NodeDrainedError: the node is being drained; the trial continues from its last state.
    """
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    about: dict[str, Any] = {
        "experiment_name": config.experiment_name,
        "num_epochs": config.num_epochs,
        "threads": threads,
    }

    if reserved is not None:
        about |= {"cpus": reserved["cpu"], "gpus": reserved.get("gpu", 0.0)}
    meter = EnergyMeter(reserved or {})
    has_epochs = resume_from is not None

    def report_epoch(row: dict[str, Any], folder: str | None) -> None:
        nonlocal has_epochs
        has_epochs = True
        is_new = "epoch" in row and "history" not in row  # a resumed trial reports its last again
        of_epoch = {"ended_at": time.time(), **meter.read()} if is_new else {}
        report({**about, **row, **of_epoch}, folder)

    try:
        about["made_with"] = made_with(config)
        deadline = [] if timeout is None else [Deadline(timeout)]
        _train(config, data, report_epoch, about, resume_from, [*callbacks, *deadline])
    except NodeDrainedError:
        raise
    except TrialTimeoutError as error:
        last = {} if has_epochs else {"error_message": f"no epoch finished in time: {error}"}
        report({**about, **last, "stop_reason": TRIAL_TIMEOUT}, None)
    except Exception as error:
        report({**about, **_error_report(error, config)}, None)


def _error_report(error: Exception, config: TrainingConfig) -> dict[str, Any]:
    """Log an error; return the report that ends the trial, or raise what a retry may get over."""
    if full := disk_full_in(error):
        return {"disk_full": f"{config.experiment_name}: {shown(str(full))}"}
    text = traceback_of(error)
    log_error(Path(config.output_dir) / config.experiment_name, text)
    if not isinstance(error, DETERMINISTIC_ERRORS):
        raise as_shown(error) from None
    return {
        "error_message": shown(f"{type(error).__name__}: {error}"),
        "frames": own_frames(text),
        "stop_reason": "nan" if isinstance(error, DivergenceError) else "error",
    }


def _train(
    config: TrainingConfig,
    data: Any,
    report: Report,
    about: dict[str, Any],
    resume_from: Path | None,
    callbacks: Sequence[Callback],
) -> None:
    """Train; halve the batch when memory runs out, and record its size in `about`."""
    while True:
        try:
            task_of(config).train(config, data, report, resume_from, callbacks)
            return
        except (MemoryError, RuntimeError) as error:
            halves = task_of(config).halves_batch and config.batch_size > 1
            if not (halves and is_out_of_memory(error)):
                raise
            logger.warning("%s: out of memory; trying half the batch", config.experiment_name)
        config = with_half_the_batch(config)
        about |= {
            "batch_size_used": config.batch_size,
            "accumulation_used": config.gradient_accumulation_steps,
        }
        resume_from = newest_state(Path(config.output_dir) / config.experiment_name)
        gc.collect()
        torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the device or in the process."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def trial(
    config: dict[str, Any],
    data: dict[str, Any],
    storage: Storage | None = None,
    mark: Mark | None = None,
) -> None:
    """Ray's function trainable; `data` comes from the object store.

    Args:
        config: `experiment_name`, its flat `config`, `threads`, `timeout` (seconds or None), its
            `request` of resources and `keeps_states` (true if another Ray trial continues from its
            states: this trial after a pause, or a clone).
        data: datasets by `data_key`.
        storage: where the run is stored; None: the output folder, which every node can read.
        mark: the driver's marker file, which every node must be able to read.

    Raises:
        StorageUnreachableError: this node cannot read the marker file.
        NodeDrainedError: this node is being drained.
    """
    os.environ.setdefault("PL_DISABLE_FORK", "1")  # as Ray Tune sets it, for models of Lightning
    if mark is not None:
        mark.look()
    settings = TrainingConfig.from_dict(config["config"], environment={})
    dataset = _data_of(settings, data)
    threads, timeout = config["threads"], config["timeout"]
    with (
        _home(settings, storage, config["keeps_states"]) as (settings, report),
        _restored() as restored,
    ):
        state = newest_state(Path(settings.output_dir) / settings.experiment_name, restored)
        drain = [] if mark is None else [DrainNotice(drain_deadline)]  # no cluster, no notice
        run_trial(settings, dataset, report, threads, state, timeout, drain, config["request"])


def _data_of(config: TrainingConfig, data: dict[str, Any]) -> Any:
    """The data of a trial; of values that were drawn later than it was sent, made here."""
    import_modules(config.imports)
    task = task_of(config)
    key = task.data_key(config)
    return data[key] if key in data else task.prepared(config, task.load(config, False))


@contextmanager
def _home(
    config: TrainingConfig, storage: Storage | None, keeps_states: bool
) -> Iterator[tuple[TrainingConfig, Report]]:
    """Yield the config and report function of a trial in its folder, or in a scratch folder.

    The scratch folder is copied to the storage. The states are Ray's checkpoints, or with
    `keeps_states` folders that are named by their epochs.
    """
    from ray import tune

    def report(row: dict[str, Any], state: str | None) -> None:
        if state and keeps_states:
            keep_state(Path(config.output_dir) / config.experiment_name, state, row["epoch"])
            state = None
        tune.report(row, checkpoint=tune.Checkpoint.from_directory(state) if state else None)

    if storage is None:
        yield config, report
        return
    remove_ownerless(Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"))  # of killed trials
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch, owned(Path(scratch)):
        name = config.experiment_name
        mirror = Mirror(storage, Path(scratch) / name, name)
        mirror.pull()

        def copy_and_report(row: dict[str, Any], state: str | None) -> None:
            if state:
                keep_state(mirror.folder, state, row["epoch"])
            mirror.push()
            tune.report(row)

        try:
            yield dataclasses.replace(config, output_dir=scratch), copy_and_report
        except Exception:
            if (mirror.folder / ERROR_LOG).exists():
                storage.send(mirror.folder / ERROR_LOG, f"{name}/{ERROR_LOG}")
            raise
        mirror.push()


@contextmanager
def _restored() -> Iterator[Path | None]:
    """Yield the folder of the checkpoint that Ray restores the trial from, or None."""
    from ray import tune

    checkpoint = tune.get_checkpoint()
    if checkpoint is None:
        yield None
        return
    with checkpoint.as_directory() as folder:
        yield Path(folder)
