"""Train a recorded trial again, without Ray, and compare its figures with the recorded ones."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from raytune_ocr.config.training_config import TrainingConfig, with_half_the_batch
from raytune_ocr.errors import (
    DETERMINISTIC_ERRORS,
    ConfigurationError,
    DataNotFoundError,
    RaytuneOCRError,
    unknown_name,
)
from raytune_ocr.plugins import check_trusted, import_modules
from raytune_ocr.results.analysis import learning_curves
from raytune_ocr.results.document import environment, read_document
from raytune_ocr.results.run_folders import why_gone
from raytune_ocr.tasks.registry import task_of
from raytune_ocr.training.callbacks.base import Callback

Say = Callable[[str], None]

OF_THE_MACHINE = (
    *("seconds", "images_per_second", "memory_mb", "cpu_percent", "gpu_memory_mb"),
    *("cpus", "gpus", "cpu_kwh", "gpu_kwh", "ended_at"),
)
"""Time and memory of an epoch: they differ every time and are not compared."""


def reproduce(
    source: str | os.PathLike[str],
    name: str | None = None,
    *,
    data: str | None = None,
    allow_outside: bool = False,
    imports: Sequence[str] = (),
    say: Say = print,
) -> bool:
    """Train a trial again from its recorded config and seed, for the same number of epochs.

    On the same machine, with the same versions, every figure must be identical to the last bit.
    If memory ran out in the recorded trial, the batch is halved after the same epoch.

    Args:
        source: a results JSON or an output folder; the epochs come from the tables of the run.
        name: of the trial; a confirming trial may be named too (default: the best result).
        data: the data to train on (default: the config's).
        imports: modules that the recorded config may import.
        say: prints the versions that differ, then each epoch's verdict.

    Returns:
        Whether everything was identical.

    Raises:
        ConfigurationError: no trial has that name, or it needs modules not in `imports`.
        DataNotFoundError: the run's `epochs.csv` is missing.
        DataLoaderError: the data cannot be used.
    """
    path, document = read_document(source)
    result = find_result(path, document, name)
    recorded = recorded_epochs(path, result["experiment_name"]) if result["total_epochs"] else {}
    for line in other_environment(document.get("environment") or {}):
        say(line)
    config = TrainingConfig.from_dict(result["config"], environment={})
    config.use_tensorboard = False
    if data is not None:
        config.metadata_path = data
    check_trusted(config.imports, imports, f"{path}: {config.experiment_name}")
    import_modules([*imports, *config.imports])
    task = task_of(config)
    dataset = task.prepared(config, task.load(config, allow_outside))
    say(f"{path}: training {config.experiment_name} again for {len(recorded)} epochs")
    comparison = Comparison(recorded, say)
    parts = _recorded_parts(config, result, recorded, say)
    error = _train_again(parts, dataset, comparison)
    identical = _same_end(comparison, error, result.get("error_message"), say)
    say(f"{config.experiment_name}: {'identical' if identical else 'NOT identical'}")
    return identical


def _recorded_parts(
    config: TrainingConfig,
    result: Mapping[str, Any],
    recorded: Mapping[int, Mapping[str, float]],
    say: Say,
) -> list[Part]:
    """Split the epochs of a result by batch size and threads; say where those are a guess."""
    if "batch_size_used" in result and not all("batch_size" in r for r in recorded.values()):
        say(
            f"out of memory halved the batch from {config.batch_size} to "
            f"{result['batch_size_used']}, but the epoch is not recorded; this training uses the "
            "smaller batch from the start, so epochs before the change may differ"
        )
    batch, threads = result.get("batch_size_used", config.batch_size), result.get("threads") or 1
    return parts_of(config, recorded, batch, int(threads))


def _same_end(comparison: Comparison, error: str, before: str | None, say: Say) -> bool:
    """Whether all epochs and the error at the end are as recorded."""
    if error or before:
        same = error == before
        say(f"the error is {'identical' if same else 'different'}: {error or 'none'}")
        return comparison.is_identical and same
    if not comparison.is_complete:
        say(f"training ended after epoch {len(comparison.verdicts)} of {len(comparison.recorded)}")
    return comparison.is_identical


class Comparison(Callback):
    """Compares each epoch with its recorded row, and stops after the last recorded epoch."""

    def __init__(self, recorded: Mapping[int, Mapping[str, float]], say: Say) -> None:
        self.recorded = recorded
        self.say = say
        self.verdicts: list[bool] = []

    def on_epoch_end(self, trainer: Any, epoch: int, metrics: dict[str, float]) -> None:
        number, last = epoch + 1, len(self.recorded)
        before = self.recorded.get(number, {"epoch": math.nan})
        found = list(differences(before, {"epoch": number, **metrics}))
        self.verdicts.append(not found)
        self.say(f"epoch {number}/{last}: {'; '.join(found) or 'identical'}")
        if number >= last:
            trainer.should_stop = True

    @property
    def is_complete(self) -> bool:
        """Whether as many epochs were trained as were recorded."""
        return len(self.verdicts) == len(self.recorded)

    @property
    def is_identical(self) -> bool:
        """Whether every epoch was the same, and none is missing."""
        return self.is_complete and all(self.verdicts)


@dataclass(frozen=True)
class Part:
    """Epochs with the same batch size and threads: their config, threads and last epoch."""

    config: TrainingConfig
    threads: int
    last: int


def parts_of(
    config: TrainingConfig,
    recorded: Mapping[int, Mapping[str, float]],
    batch_size: int,
    threads: int,
) -> list[Part]:
    """Split a trial into parts by the recorded batch size and threads of its epochs.

    Args:
        batch_size, threads: for epochs without recorded ones.
    """
    parts = [Part(_with_batch(config, batch_size), threads, 0)] if not recorded else []
    for epoch, row in sorted(recorded.items()):
        size = int(row.get("batch_size", batch_size))
        part = Part(_with_batch(config, size), int(row.get("threads", threads)), epoch)
        if parts and replace(parts[-1], last=epoch) == part:
            parts.pop()
        parts.append(part)
    return parts


def _with_batch(config: TrainingConfig, batch: int) -> TrainingConfig:
    """Halve the config's batch until it is at most `batch`."""
    while config.batch_size > max(1, batch):
        config = with_half_the_batch(config)
    return config


class _PartEnded(RaytuneOCRError):
    """A part is trained; the next one continues from its state."""


def _train_again(parts: Sequence[Part], dataset: Any, comparison: Comparison) -> str:
    """Train in a temporary folder; return the error that ended it, or ""."""
    with tempfile.TemporaryDirectory() as folder:
        state = None
        try:
            for number, part in enumerate(parts, 1):
                torch.set_num_threads(part.threads)
                kept = Path(folder) / f"part_{number}"
                last = number == len(parts)
                _train_part(part, dataset, comparison, folder, state, None if last else kept)
                state = kept
        except DETERMINISTIC_ERRORS as error:
            return f"{type(error).__name__}: {error}"
    return ""


def _train_part(
    part: Part,
    dataset: Any,
    comparison: Comparison,
    output_dir: str,
    resume_from: Path | None,
    keep: Path | None,
) -> None:
    """Train from a state; with `keep`, stop at the part's last epoch and keep its state there."""

    def report(row: Mapping[str, Any], state: str | None) -> None:
        if keep is not None and state is not None and row["epoch"] == part.last:
            shutil.copytree(state, keep)
            raise _PartEnded

    with suppress(_PartEnded):
        config = replace(part.config, output_dir=output_dir)
        task_of(config).train(config, dataset, report, resume_from, [comparison])


def find_result(path: Path, document: Mapping[str, Any], name: str | None) -> dict[str, Any]:
    """Return the best result, or the one named `name`, with the config to train it again.

    Raises:
        ConfigurationError: there is none, or it has no config (results of the original system).
    """
    confirming = (document.get("confirmation") or {}).get("results", [])
    known = {
        result["experiment_name"]: result for result in [*document["all_results"], *confirming]
    }
    found = document.get("best_result") if name is None else known.get(name)
    if found is None and name is None:
        raise ConfigurationError(f"{path}: no trial completed; name one with --trial")
    if found is None:
        raise ConfigurationError(f"{path}: --trial: {unknown_name('trial', name, known)}")
    if not found.get("config"):
        raise ConfigurationError(
            f"{path}: {found['experiment_name']}: must hold the trial's whole config, got none"
        )
    return found


def recorded_epochs(path: Path, name: str) -> dict[int, dict[str, float]]:
    """Return a trial's rows by epoch, without the columns that depend on the machine.

    Raises:
        DataNotFoundError: the run left none, or another run has replaced it in its folder.
    """
    curves = learning_curves(path, confirming=True)
    rows = curves[curves["experiment_name"] == name]
    if rows.empty:
        why = why_gone(read_document(path)[1]) or (
            f"the run's folder has no epochs of {name!r} (epochs.csv)"
        )
        raise DataNotFoundError(f"{path}: {why}")
    kept = rows.drop(columns=["experiment_name", *OF_THE_MACHINE], errors="ignore")
    for name in ("batch_size", "threads"):
        if name in kept and kept[name].isna().any():  # begun by an older version
            kept = kept.drop(columns=name)
    return {int(row["epoch"]): row for row in kept.to_dict("records")}


def differences(recorded: Mapping[str, float], now: Mapping[str, float]) -> Iterator[str]:
    """Describe each figure that differs; figures that were not recorded are not compared."""
    for name, before in recorded.items():
        value = now.get(name, math.nan)
        if before != value and not (math.isnan(before) and math.isnan(value)):
            yield f"{name} was {before:.17g}, is {value:.17g}"


def other_environment(recorded: Mapping[str, Any]) -> Iterator[str]:
    """Describe each version or machine that differs from the one of the results."""
    here = environment()
    for name, before in recorded.items():
        if name in here and here[name] != before:
            yield f"different {name}: was {before}, is {here[name]}"
