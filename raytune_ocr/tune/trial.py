"""One trial: what runs in a Ray worker. Ray comes in through `report` alone."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raytune_ocr.config import TrainingConfig
from raytune_ocr.errors import DETERMINISTIC_ERRORS, CheckpointError, DivergenceError

logger = logging.getLogger(__name__)

STATE_NAME = "state.pt"

Report = Callable[[dict[str, Any], "str | None"], None]


def run_trial(
    config: TrainingConfig,
    data: Any,
    report: Report,
    threads: int = 1,
    resume_from: Path | None = None,
) -> None:
    """Train as `config` says, a report each epoch.

    An error that would come back on every try is reported as `error_message` instead of raised,
    so that the trial is not tried again.
    """
    import torch

    from raytune_ocr.training import train_from_config

    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    about = {"experiment_name": config.experiment_name, "num_epochs": config.num_epochs}
    try:
        train_from_config(
            config,
            data,
            report=lambda row, folder: report({**row, **about}, folder),
            resume_from=resume_from,
        )
    except DETERMINISTIC_ERRORS as error:
        reason = "nan" if isinstance(error, DivergenceError) else "error"
        message = f"{type(error).__name__}: {error}"
        report({**about, "error_message": message, "stop_reason": reason}, None)


def trial(config: dict[str, Any], configs: dict[str, Any], data: dict[str, Any]) -> None:
    """The function trainable; `configs` and `data` come from the object store.

    Args:
        config: `experiment_name`, and `threads`.
        configs: the flat config of every experiment, by name.
        data: datasets by `data_key`.
    """
    from ray import tune

    settings = TrainingConfig.from_dict(configs[config["experiment_name"]], environment={})

    def report(row: dict[str, Any], folder: str | None) -> None:
        checkpoint = tune.Checkpoint.from_directory(folder) if folder else None
        tune.report(row, checkpoint=checkpoint)

    folder = Path(settings.output_dir) / settings.experiment_name
    state = newest_state(folder)
    run_trial(settings, data[data_key(settings)], report, config["threads"], state)


def data_key(config: TrainingConfig) -> str:
    """The same for experiments that can share a dataset in memory."""
    names = ("dataset_name", "dataset_options", "metadata_path", "train_split", "val_split")
    return json.dumps([getattr(config, name) for name in names], sort_keys=True, default=str)


def newest_state(folder: Path) -> Path | None:
    """The newest whole state below a trial's folder; damaged ones are named and passed over."""
    from raytune_ocr.training.checkpoint import read_state

    states = folder.glob(f"checkpoint_*/{STATE_NAME}")
    for path in sorted(states, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            read_state(path)
            return path
        except CheckpointError as error:
            logger.warning("%s; the state before it is used", error)
    return None
