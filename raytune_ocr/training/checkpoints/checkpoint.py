"""Checkpoints in a folder: the best, the latest and numbered ones, of which the newest stay."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from raytune_ocr.errors import CheckpointError, ConfigurationError
from raytune_ocr.training.checkpoints.run_folder import BEST_NAME, NUMBERED
from raytune_ocr.training.checkpoints.state_files import part_of, read_state, write_state

logger = logging.getLogger(__name__)

LATEST_NAME = "latest_checkpoint.pt"


class CheckpointManager:
    """Checkpoints in a folder: numbered ones, of which the newest few stay, the best, the latest.

    Args:
        checkpoint_dir: made when the first checkpoint is saved (also `checkpoints_dir`).
        number: the second argument of both documented forms: how many numbered checkpoints
            `save_checkpoint` keeps, and how many epochs lie between two that `is_due` names.
        save_best: keep the best in `best_model.pt`, which no clean-up touches.
        keep_n_checkpoints: how many numbered checkpoints stay, whatever saves them; by default 3
            of those of `save_checkpoint` and all of those of `save_epoch_checkpoint`.
        save_frequency: epochs from one numbered checkpoint to the next, 10 by default.

    Raises:
        ConfigurationError: for no folder, or a number below 1.
    """

    def __init__(
        self,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        number: int | None = None,
        save_best: bool = True,
        *,
        keep_n_checkpoints: int | None = None,
        checkpoints_dir: str | os.PathLike[str] | None = None,
        save_frequency: int | None = None,
    ) -> None:
        folder = checkpoint_dir if checkpoint_dir is not None else checkpoints_dir
        if folder is None:
            raise ConfigurationError("checkpoint_dir: must be a folder, got None")
        self.checkpoint_dir = Path(folder)
        self.save_best = save_best
        self.keeps_all_epochs = keep_n_checkpoints is None
        self.keep_n_checkpoints = _at_least_one("keep_n_checkpoints", keep_n_checkpoints, number, 3)
        self.save_frequency = _at_least_one("save_frequency", save_frequency, number, 10)
        self._newest: int | None = None
        self._own: set[int] = set()  # epochs that this object has saved
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
        """Return the path of the checkpoint of `epoch`."""
        return self.checkpoint_dir / NUMBERED.replace("*", f"{epoch:04d}")

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
                f"scheduler: must have a state_dict(), got {scheduler!r}; pass epoch=, loss=, "
                "accuracy= and filepath= as keyword arguments"
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
        self._saved(epoch)
        self.cleanup_old_checkpoints()
        return str(path)

    def _saved(self, epoch: int) -> None:
        self._newest = epoch
        self._own.add(epoch)

    # The next three are document 002's: each saves the same state as `save_checkpoint` under a
    # different name.

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
        about: dict[str, Any] = {
            "loss": loss,
            "accuracy": accuracy,
            "additional_info": additional_info,
        }
        self.save_checkpoint(model, optimizer, epoch=epoch, filepath=self.best_path, **about)
        self._best_accuracy = float(accuracy)
        return True

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
        about: dict[str, Any] = {
            "loss": loss,
            "accuracy": accuracy,
            "additional_info": additional_info,
        }
        path = self.latest_path
        return self.save_checkpoint(model, optimizer, epoch=epoch, filepath=path, **about)

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
        about: dict[str, Any] = {
            "loss": loss,
            "accuracy": accuracy,
            "additional_info": additional_info,
        }
        path = self.path_of(epoch)
        self.save_checkpoint(model, optimizer, epoch=epoch, filepath=path, **about)
        self._saved(epoch)
        if not self.keeps_all_epochs:
            self.cleanup_old_checkpoints()
        return str(path)

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
        weights = part_of(state, "model_state_dict", path)
        fitting = fitting_weights(model, weights)
        missing = [name for name in model.state_dict() if name not in fitting]
        foreign = [name for name in weights if name not in fitting]
        if strict and (missing or foreign):
            raise CheckpointError(
                f"{path}: a checkpoint of another model; these layers do not match: "
                f"{shortened(missing or foreign)}; to load only those that do, pass strict=False"
            )
        model.load_state_dict(fitting, strict=False)
        if missing:
            logger.warning("%s: skipped layers that do not match: %s", path, shortened(missing))
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
        """Return the newest intact state; log damaged ones."""
        newest_first = [self.latest_path, *reversed(self.list_checkpoints())]
        for path in newest_first:
            if not path.exists():
                continue
            try:
                return read_state(path)
            except CheckpointError as error:
                logger.warning("%s; using the checkpoint before it", error)
        return None

    def load_best_model(self) -> dict[str, Any] | None:
        """The best state, or None when none was saved."""
        return read_state(self.best_path) if self.best_path.exists() else None

    def list_checkpoints(self) -> list[Path]:
        """The numbered files, oldest epoch first."""
        return sorted(self.checkpoint_dir.glob(NUMBERED), key=_epoch_of)

    def cleanup_old_checkpoints(self) -> None:
        """Remove all but the newest `keep_n_checkpoints` numbered files.

        Numbers above the one saved last that are not of this training are of an earlier, longer
        one in the same folder: all of these go, or they would be taken for the latest.
        """
        newest = math.inf if self._newest is None else self._newest
        above = {path for path in self.list_checkpoints() if _epoch_of(path) > newest}
        older = {path for path in above if _epoch_of(path) not in self._own}
        oldest_first = sorted(
            set(self.list_checkpoints()) - older, key=lambda p: (p not in above, _epoch_of(p))
        )
        for path in (*older, *oldest_first[: -self.keep_n_checkpoints]):
            path.unlink(missing_ok=True)


def _at_least_one(name: str, given: int | None, number: int | None, default: int) -> int:
    """The first of three that is given, if it is an integer >= 1."""
    value = next(value for value in (given, number, default) if value is not None)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}: must be an integer >= 1, got {value!r}")
    return value


def _epoch_of(path: Path) -> int:
    """The epoch in the name of a numbered file."""
    numbers = re.findall(r"\d+", path.stem)
    return int(numbers[-1]) if numbers else 0


def fitting_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the `weights` that `model` has with the same name and shape."""
    own = model.state_dict()
    return {
        name: value
        for name, value in weights.items()
        if name in own and own[name].shape == value.shape
    }


def model_config(model: nn.Module) -> dict[str, Any]:
    """Return the model's name and keywords if it has them, else its class."""
    known = getattr(model, "model_config", None)
    if not isinstance(known, Mapping):
        return {"class": type(model).__name__}
    plain = (str, int, float, bool, list, dict, type(None))  # what weights_only loads
    return {key: value if isinstance(value, plain) else str(value) for key, value in known.items()}


def shortened(names: Sequence[str], limit: int = 8) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
