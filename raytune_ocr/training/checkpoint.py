"""Checkpoint files: written aside and replaced, checked when read, never unpickled freely."""

from __future__ import annotations

import logging
import math
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from raytune_ocr.errors import CheckpointError, ConfigurationError
from raytune_ocr.files import replacing

logger = logging.getLogger(__name__)

BEST_NAME = "best_model.pt"
LATEST_NAME = "latest_checkpoint.pt"


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
    """Checkpoints in a folder: numbered ones, of which the newest few stay, the best, the latest.

    Args:
        checkpoint_dir: made when the first checkpoint is saved (also `checkpoints_dir`).
        keep_n_checkpoints: how many numbered ones stay.
        save_best: keep the best in `best_model.pt`, which no clean-up touches.
        save_frequency: epochs from one numbered checkpoint to the next, see `is_due`.
    """

    def __init__(
        self,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        keep_n_checkpoints: int = 3,
        save_best: bool = True,
        *,
        checkpoints_dir: str | os.PathLike[str] | None = None,
        save_frequency: int = 10,
    ) -> None:
        folder = checkpoint_dir if checkpoint_dir is not None else checkpoints_dir
        if folder is None:
            raise ConfigurationError("checkpoint_dir: must be a folder, got None")
        if save_frequency < 1:
            raise ConfigurationError(f"save_frequency: must be >= 1, got {save_frequency}")
        self.checkpoint_dir = Path(folder)
        self.keep_n_checkpoints = keep_n_checkpoints
        self.save_best = save_best
        self.save_frequency = save_frequency
        self._best_accuracy: float | None = None

    @property
    def best_path(self) -> Path:
        """Where the best model is."""
        return self.checkpoint_dir / BEST_NAME

    @property
    def latest_path(self) -> Path:
        """Where the latest checkpoint is."""
        return self.checkpoint_dir / LATEST_NAME

    def path_of(self, epoch: int) -> Path:
        """Where the checkpoint of `epoch` is."""
        return self.checkpoint_dir / f"checkpoint_epoch_{epoch:04d}.pt"

    def is_due(self, epoch: int) -> bool:
        """Whether `epoch`, counted from 1, gets a numbered checkpoint."""
        return epoch % self.save_frequency == 0

    # Saving

    def save_checkpoint(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        scheduler: Any = None,
        epoch: int = 0,
        metrics: Mapping[str, float] | None = None,
        is_best: bool = False,
        extra_state: Mapping[str, Any] | None = None,
        *,
        loss: float | None = None,
        accuracy: float | None = None,
        filepath: str | os.PathLike[str] | None = None,
        additional_info: Mapping[str, Any] | None = None,
    ) -> str:
        """Save one epoch's state; returns the file's path.

        Give `metrics` for a numbered file (and the best one with `is_best`), or `loss`,
        `accuracy` and `filepath` for a file of that name.

        Args:
            extra_state: more entries of the state (also `additional_info`).
        """
        if scheduler is not None and not hasattr(scheduler, "state_dict"):
            raise ConfigurationError(
                f"scheduler: must have a state_dict(), got {scheduler!r}; name the arguments "
                "epoch=, loss=, accuracy= and filepath="
            )
        state = {
            "epoch": epoch,
            "model_state_dict": model.state_dict(),
            "optimizer_state_dict": optimizer.state_dict() if optimizer else None,
            "scheduler_state_dict": scheduler.state_dict() if scheduler else None,
            "metrics": dict(metrics or {}),
            "loss": loss,
            "accuracy": accuracy,
            "model_config": model_config(model),
            **(extra_state or {}),
            **(additional_info or {}),
        }
        if filepath is not None:
            write_state(filepath, state)
            return str(filepath)
        return self.save_state(state, epoch, is_best)

    def save_state(self, state: Mapping[str, Any], epoch: int, is_best: bool = False) -> str:
        """Save a state that was put together elsewhere under the number of `epoch`."""
        path = self.path_of(epoch)
        write_state(path, state)
        if is_best and self.save_best:
            write_state(self.best_path, state)
        self.cleanup_old_checkpoints()
        return str(path)

    def save_best_model(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        epoch: int,
        loss: float,
        accuracy: float,
        additional_info: Mapping[str, Any] | None = None,
    ) -> bool:
        """Save as the best if `accuracy` is above that of the best there is; True if saved."""
        if not self.save_best or not accuracy > self.best_accuracy:
            return False
        self._save_as(self.best_path, model, optimizer, epoch, loss, accuracy, additional_info)
        self._best_accuracy = accuracy
        return True

    @property
    def best_accuracy(self) -> float:
        """Of the best model in the folder; minus infinity when there is none."""
        if self._best_accuracy is None:
            try:
                accuracy = (self.load_best_model() or {}).get("accuracy")
            except CheckpointError as error:
                logger.warning("%s; it will be replaced", error)
                accuracy = None
            self._best_accuracy = -math.inf if accuracy is None else accuracy
        return self._best_accuracy

    def save_latest_checkpoint(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        epoch: int,
        loss: float,
        accuracy: float,
        additional_info: Mapping[str, Any] | None = None,
    ) -> str:
        """Replace the latest checkpoint; returns its path."""
        path = self.latest_path
        return self._save_as(path, model, optimizer, epoch, loss, accuracy, additional_info)

    def save_epoch_checkpoint(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        epoch: int,
        loss: float,
        accuracy: float,
        additional_info: Mapping[str, Any] | None = None,
    ) -> str:
        """Save the numbered checkpoint of `epoch`; returns its path."""
        path = self.path_of(epoch)
        self._save_as(path, model, optimizer, epoch, loss, accuracy, additional_info)
        self.cleanup_old_checkpoints()
        return str(path)

    def _save_as(
        self,
        path: Path,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        epoch: int,
        loss: float,
        accuracy: float,
        additional_info: Mapping[str, Any] | None,
    ) -> str:
        return self.save_checkpoint(
            model,
            optimizer,
            epoch=epoch,
            loss=loss,
            accuracy=accuracy,
            filepath=path,
            additional_info=additional_info,
        )

    # Loading

    def load_checkpoint(
        self,
        checkpoint_path: str | os.PathLike[str] | None = None,
        model: nn.Module | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        strict: bool = True,
        *,
        filepath: str | os.PathLike[str] | None = None,
    ) -> dict[str, Any]:
        """The state in a file or, given a model, what of it could be put into that model.

        Args:
            checkpoint_path: the file (also `filepath`).
            strict: whether every layer must fit; otherwise those that do are loaded, and the
                optimizer's state only if all do.

        Returns:
            Without a model, everything that the file holds. With one, `epoch`, `loss`,
            `accuracy`, `fully_restored`, `loaded_layers`, `total_layers` (entries of the model's
            state), and the names of the `missing_layers`.

        Raises:
            CheckpointError: when the file is missing, damaged or, if `strict`, of another model.
        """
        path = checkpoint_path if checkpoint_path is not None else filepath
        if path is None:
            raise ConfigurationError("checkpoint_path: must be a file, got None")
        state = read_state(path)
        if model is None:
            return state
        weights = state["model_state_dict"]
        fitting = fitting_weights(model, weights)
        missing = [name for name in model.state_dict() if name not in fitting]
        foreign = [name for name in weights if name not in fitting]
        if strict and (missing or foreign):
            raise CheckpointError(
                f"{path}: of another model; these layers do not fit: "
                f"{shortened(missing or foreign)}; load it with strict=False to take the others"
            )
        model.load_state_dict(fitting, strict=False)
        if missing:
            logger.warning("%s: not loaded, since they do not fit: %s", path, shortened(missing))
        elif optimizer is not None and state.get("optimizer_state_dict"):
            optimizer.load_state_dict(state["optimizer_state_dict"])
        total = len(fitting) + len(missing)
        return {
            "epoch": state.get("epoch", 0),
            "loss": state.get("loss"),
            "accuracy": state.get("accuracy"),
            "fully_restored": not missing,
            "loaded_layers": total - len(missing),
            "total_layers": total,
            "missing_layers": missing,
        }

    def load_latest(self) -> dict[str, Any] | None:
        """The newest state that is whole: a damaged one is named and passed over."""
        newest_first = [self.latest_path, *reversed(self.list_checkpoints())]
        for path in newest_first:
            if not path.exists():
                continue
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


def fitting_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of `weights` that `model` has under the same name and shape."""
    own = model.state_dict()
    return {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape
    }


def model_config(model: nn.Module) -> dict[str, Any]:
    """How the model was asked for, as far as it knows: its name and keywords, or its class."""
    known = getattr(model, "model_config", None)
    if not isinstance(known, Mapping):
        return {"class": type(model).__name__}
    plain = (str, int, float, bool, list, dict, type(None))  # what weights_only loads
    return {key: value if isinstance(value, plain) else str(value) for key, value in known.items()}


def shortened(names: Sequence[str], limit: int = 8) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
