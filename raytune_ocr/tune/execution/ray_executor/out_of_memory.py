"""Estimate the memory of a trial, and continue with a smaller batch when it runs out."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable

from raytune_ocr.config.training_config import with_half_the_batch
from raytune_ocr.results.record import TrialRecord

logger = logging.getLogger(__name__)

KILLED = re.compile(r"Actor\((\w+)\)[^\n]*?memory used=([\d.]+)GB")
MONITOR, KERNEL = "Ray's memory monitor", "the kernel, which had no memory left"
LOW_ON_MEMORY = "running low on memory"
MEBIBYTE = 2**20
WORKER_MB = 600  # of a trial without a measurement: PyTorch, a small model and its batches
RESERVE = 1.2  # over what was measured
STEP_MB = 100  # Ray reuses a process only for an equal request


def memory_needed(record: TrialRecord, others: Iterable[TrialRecord]) -> int:
    """Return the bytes to request for a trial.

    A fifth more than its own peak so far, else than the highest peak of the run's other trials,
    else 600 MiB; in steps of 100 MiB. Ray starts only as many trials on a node as fit.
    """
    peaks = [_peak(record)] if record.epochs else [_peak(other) for other in others]
    measured = RESERVE * max(peaks, default=0.0)
    return math.ceil((measured or WORKER_MB) / STEP_MB) * STEP_MB * MEBIBYTE


def _peak(record: TrialRecord) -> float:
    """MiB of the last epoch, since processes hardly shrink; 0 before the first."""
    return float(record.epochs[-1].get("memory_mb", 0.0)) if record.epochs else 0.0


def killed_by_monitor(error: BaseException) -> dict[str, float] | None:
    """Return the actors that Ray's memory monitor killed and their GB by id; None: it killed none.

    In Ray 2.60 this kill is an unexpected error for the controller, which ends the whole run with
    a `RuntimeError`, whatever `max_failures` says.
    """
    from ray.exceptions import OutOfMemoryError

    cause = error.__cause__
    if not isinstance(cause, OutOfMemoryError):
        return None
    return {actor: float(used) for actor, used in KILLED.findall(str(cause))}


def halve_batch(record: TrialRecord, by: str = MONITOR) -> None:
    """Halve the batch and double the accumulation; with a batch of one the trial has failed.

    Args:
        by: what killed its process.
    """
    config = record.config_used
    if config.batch_size == 1:
        record.status, record.stop_reason = "failed", "error"
        record.error_message = "MemoryError: its node ran out of memory with a batch of one"
    else:
        less = with_half_the_batch(config)
        record.used |= {
            "batch_size_used": less.batch_size,
            "accumulation_used": less.gradient_accumulation_steps,
        }
        logger.warning(
            "%s: killed by %s; continues with batch size %d, accumulation %d",
            record.name,
            by,
            less.batch_size,
            less.gradient_accumulation_steps,
        )
