"""The paths of one training run."""

from __future__ import annotations

import os
from pathlib import Path

BEST_NAME = "best_model.pt"
NUMBERED = "checkpoint_epoch_*.pt"  # checkpoints of epochs; the star is the number
STATE_NAME = "state.pt"  # what a run is resumed from, in a folder of its own


class RunFolder:
    """The folder of one run; every path in it is a property."""

    def __init__(self, output_dir: str | os.PathLike[str], experiment_name: str) -> None:
        self.path = Path(output_dir) / experiment_name

    @property
    def checkpoints(self) -> Path:
        """Numbered checkpoints and `best_model.pt`."""
        return self.path / "checkpoints"

    @property
    def best_model(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.checkpoints / BEST_NAME

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.path / "tensorboard"

    @property
    def log_file(self) -> Path:
        """One line an epoch."""
        return self.path / "logs" / "training.log"

    @property
    def config_file(self) -> Path:
        """The config that rebuilds the run."""
        return self.path / "config.yaml"
