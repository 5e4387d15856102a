"""Remove or copy what trials leave in a run's folder: states, models, logs."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from raytune_ocr.errors import CheckpointError
from raytune_ocr.files import is_disk_full
from raytune_ocr.results.aggregate import ranking
from raytune_ocr.results.record import BEST_MODELS_KEPT, CONFIRMING_TABLES, TrialRecord
from raytune_ocr.tasks.context import FILES
from raytune_ocr.tasks.function_callbacks import BEST_FILES
from raytune_ocr.training.checkpoints.run_folder import BEST_MODEL, STATE_NAME
from raytune_ocr.training.checkpoints.state_files import read_state, write_state
from raytune_ocr.training.model_config import without_model_file
from raytune_ocr.tune.execution.trial_errors import disk_full
from raytune_ocr.tune.selection.confirmation import winner
from raytune_ocr.tune.storage.mirror import RAY_STATE, STATES, RunCopy, newest_state, state_folder

logger = logging.getLogger(__name__)
SECOND_FOLDER = "*_" + 4 * "[0-9a-f]"  # Ray's name for a trial's folder when the first one exists


def forget(folder: Path, copy: RunCopy, names: Iterable[str]) -> None:
    """Remove older trials of these names, here and in the storage: new ones start from nothing."""
    for name in names:
        copy.remove(name)
        for part in ("checkpoints", "tensorboard", "logs"):
            shutil.rmtree(folder / name / part, ignore_errors=True)
        remove_states(folder / name)


def forget_confirmation(folder: Path, copy: RunCopy) -> None:
    """Remove the tables of confirming trials here and in the storage; the new run may have none."""
    for name in CONFIRMING_TABLES:
        (folder / name).unlink(missing_ok=True)
        if copy.storage:
            with suppress(FileNotFoundError):
                copy.storage.remove(name)


def copy_checkpoint(folder: Path, copy: RunCopy, child: TrialRecord) -> None:
    """Copy the parent's state and best model, so that the new trial continues from them.

    The folders that a training function saved with them are copied too. Without an intact state of
    that epoch, the trial trains from the start, to the same last epoch.
    """
    copy.pull_trial(child.parent)
    state = f"{state_folder(child.parent_epoch)}/{STATE_NAME}"
    for name in (BEST_MODEL, state):
        source, target = folder / child.parent / name, folder / child.name / name
        try:
            content = read_state(source)
        except CheckpointError as error:
            logger.warning("%s: %s; training starts from epoch 1", child.name, error)
            return
        for saved in (FILES, BEST_FILES):
            if (source.parent / saved).is_dir():
                shutil.copytree(source.parent / saved, target.parent / saved)
        content["config"] = without_model_file(child.config).to_dict()
        write_state(target, content)
    copy.push_trial(child.name)


def fetch_models(copy: RunCopy, names: Iterable[str]) -> None:
    """Copy the models and logs of trials from the storage; their states stay there for a resume.

    Raises:
        ExperimentFailedError: the disk is full.
    """
    try:
        for name in names:
            with suppress(FileNotFoundError):  # its process may be writing its last copy
                copy.pull_trial(name, states=False)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise disk_full(str(error)) from None


def remove_states(trial: Path, but: Path | None = None) -> None:
    """Remove a trial's states, except the one in the folder `but`."""
    for folder in trial.glob(f"{STATES}*"):
        if folder != but:
            shutil.rmtree(folder, ignore_errors=True)


def remove_ray_state(folder: Path) -> None:
    """Remove Ray's snapshot of the run: a resume does not use it, and it holds pickles.

    Also remove the empty folders that Ray makes for trials that continue after a pause.
    """
    for pattern in RAY_STATE:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    for path in folder.glob(SECOND_FOLDER):
        with suppress(OSError):  # a file, or not empty
            path.rmdir()


def tidy(
    folder: Path,
    copy: RunCopy,
    records: Iterable[TrialRecord],
    keep_models: int | None = BEST_MODELS_KEPT,
) -> None:
    """Remove states of finished trials but the winner's, and models of all but the best trials.

    Args:
        keep_models: how many trials keep theirs, best and numbered ones; None: all.
    """
    records = list(records)
    best = winner(records)
    keeping = {record.name for record in ranking(records)[:keep_models]}
    for record in records:
        if not record.is_over:
            continue
        newest = newest_state(folder / record.name) if record is best else None
        remove_states(folder / record.name, newest.parent if newest else None)
        if record is not best and keep_models is not None and record.name not in keeping:
            shutil.rmtree(folder / record.name / "checkpoints", ignore_errors=True)
        if record is not best:
            copy.prune(record.name)
