"""The paths of one training run."""

from __future__ import annotations

import os
from pathlib import Path

NUMBERED = "checkpoint_epoch_*.pt"  # checkpoints of epochs; the star is the number
STATE_NAME = "state.pt"  # the state for a resume, in a separate folder
BEST_NAME = "best_model.pt"  # the weights of the best epoch
BEST_MODEL = f"checkpoints/{BEST_NAME}"  # in the folder of one run, as the next one
ERROR_LOG = "logs/error.log"  # tracebacks of its failures


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
        """The weights of the best epoch."""
        return self.path / BEST_MODEL

    @property
    def error_log(self) -> Path:
        """Tracebacks of its failures, if there were any."""
        return self.path / ERROR_LOG

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
