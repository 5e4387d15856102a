"""Checkpoint files: written aside and replaced, checked when read, never unpickled freely."""

from __future__ import annotations

import logging
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from raytune_ocr.errors import CheckpointError
from raytune_ocr.files import replacing

logger = logging.getLogger(__name__)

BEST_NAME = "best_model.pt"


def write_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write tensors and plain values; `path` holds the old state or the new one, never half."""
    with replacing(path) as aside:
        torch.save(dict(state), aside)


def read_state(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `write_state` wrote, its checksums compared, with `weights_only=True`.

    Raises:
        CheckpointError: when the file is missing, truncated or altered.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise CheckpointError(f"{path}: damaged (the checksum of {damaged} differs)")
        return torch.load(path, map_location=device, weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile and torch raise many kinds for damaged bytes
        raise CheckpointError(
            f"{path}: damaged or no checkpoint: {str(error).splitlines()[0]}"
        ) from error


class CheckpointManager:
    """Numbered checkpoints in a folder, the newest few kept, the best one apart.

    Args:
        checkpoint_dir: made when the first checkpoint is saved.
        keep_n_checkpoints: how many numbered ones stay.
        save_best: keep the best in `best_model.pt`, which no clean-up touches.
    """

    def __init__(
        self,
        checkpoint_dir: str | os.PathLike[str],
        keep_n_checkpoints: int = 3,
        save_best: bool = True,
    ) -> None:
        self.checkpoint_dir = Path(checkpoint_dir)
        self.keep_n_checkpoints = keep_n_checkpoints
        self.save_best = save_best

    @property
    def best_path(self) -> Path:
        """Where the best model is."""
        return self.checkpoint_dir / BEST_NAME

    def path_of(self, epoch: int) -> Path:
        """Where the checkpoint of `epoch` is."""
        return self.checkpoint_dir / f"checkpoint_epoch_{epoch:04d}.pt"

    def save_checkpoint(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        scheduler: Any,
        epoch: int,
        metrics: Mapping[str, float],
        is_best: bool = False,
        extra_state: Mapping[str, Any] | None = None,
    ) -> str:
        """Save one epoch's state, and as the best if it is; returns the numbered file's path."""
        state = {
            "epoch": epoch,
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": optimizer.state_dict() if optimizer else None,
            "scheduler_state_dict": scheduler.state_dict() if scheduler else None,
            "metrics": dict(metrics),
            **(extra_state or {}),
        }
        return self.save_state(state, epoch, is_best)

    def save_state(self, state: Mapping[str, Any], epoch: int, is_best: bool = False) -> str:
        """Save a state that was put together elsewhere under the number of `epoch`."""
        path = self.path_of(epoch)
        write_state(path, state)
        if is_best and self.save_best:
            write_state(self.best_path, state)
        self.cleanup_old_checkpoints()
        return str(path)

    def load_checkpoint(self, checkpoint_path: str | os.PathLike[str]) -> dict[str, Any]:
        """The state in a file; raises CheckpointError when it is missing or damaged."""
        return read_state(checkpoint_path)

    def load_latest(self) -> dict[str, Any] | None:
        """The newest state that is whole: a damaged one is named and passed over."""
        for path in reversed(self.list_checkpoints()):
            try:
                return read_state(path)
            except CheckpointError as error:
                logger.warning("%s; the checkpoint before it is used", error)
        return None

    def load_best_model(self) -> dict[str, Any] | None:
        """The best state, or None when none was saved."""
        return read_state(self.best_path) if self.best_path.exists() else None

    def list_checkpoints(self) -> list[Path]:
        """The numbered files, oldest epoch first."""
        numbered = self.checkpoint_dir.glob("checkpoint_epoch_*.pt")
        return sorted(numbered, key=lambda path: int(re.findall(r"\d+", path.stem)[-1]))

    def cleanup_old_checkpoints(self) -> None:
        """Remove all but the newest `keep_n_checkpoints` numbered files."""
        for path in self.list_checkpoints()[: -self.keep_n_checkpoints]:
            path.unlink(missing_ok=True)
