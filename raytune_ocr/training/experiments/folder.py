"""Experiment folders `exp1`, `exp2` and so on."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raytune_ocr.config.yaml_files import load_yaml, to_yaml
from raytune_ocr.errors import CheckpointError, ConfigurationError, unknown_name
from raytune_ocr.files import replacing
from raytune_ocr.training.checkpoints.checkpoint import CheckpointManager

CONFIG_NAME = "config.yaml"


class ExperimentManager:
    """The folder of one experiment; every path in it is a property.

    Args:
        base_dir: folder of `exp1`, `exp2`, …; made if absent.
        resume_exp: name of the experiment to continue.
        fork_exp: name of the experiment to start from, with its weights, in a new folder.

    Raises:
        ConfigurationError: when there is no such experiment (those there are listed), when both
            are named, or when `base_dir` cannot be written to.
    """

    def __init__(
        self,
        base_dir: str | os.PathLike[str] = "runs",
        resume_exp: str | None = None,
        fork_exp: str | None = None,
    ) -> None:
        if resume_exp and fork_exp:
            raise ConfigurationError(
                f"resume_exp, fork_exp: only one can be given, got {resume_exp!r} and {fork_exp!r}"
            )
        self.base_dir = Path(base_dir)
        self.resumed = resume_exp is not None
        self.parent = fork_exp
        if resume_exp or fork_exp:
            earlier = existing_experiment(self.base_dir, str(resume_exp or fork_exp))
        try:
            self._folder = earlier if resume_exp else self._reserve()
            Path(self.checkpoints_dir).mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"base_dir: cannot make an experiment in {self.base_dir}: {error.strerror}; "
                "choose a folder that can be written to"
            ) from None
        if fork_exp is not None:
            self.save_config({})

    def _reserve(self) -> Path:
        """Make the folder of the next number; this reserves it, so that no two share one."""
        self.base_dir.mkdir(parents=True, exist_ok=True)
        names = experiment_names(self.base_dir)
        number = max((_number(self.base_dir / name) for name in names), default=0)
        while True:
            number += 1
            folder = self.base_dir / f"exp{number}"
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in the folder inside.

        Raises:
            ConfigurationError: one does.
        """
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(folder)
            raise ConfigurationError(
                f"{self._folder}: in use by another training process; wait until it ends, or start "
                f"from its weights in a new folder: --fork {self.name}"
            ) from None
        except OSError:  # a file system without locks
            pass
        try:
            yield
        finally:
            os.close(folder)

    @property
    def name(self) -> str:
        """The folder's name, such as `exp3`."""
        return self._folder.name

    @property
    def experiment_dir(self) -> str:
        """The experiment's own folder."""
        return str(self._folder)

    @property
    def checkpoints_dir(self) -> str:
        """The folder of its checkpoints."""
        return str(self._folder / "checkpoints")

    @property
    def log_file(self) -> str:
        """The log, one line an epoch."""
        return str(self._folder / "training.log")

    @property
    def plot_file(self) -> str:
        """The picture of the learning curves."""
        return str(self._folder / "training_curves.png")

    @property
    def config_file(self) -> str:
        """Its settings, and its parent if it is a fork."""
        return str(self._folder / CONFIG_NAME)

    @property
    def parent_checkpoint(self) -> Path | None:
        """The newest checkpoint of the experiment that this one was forked from."""
        if self.parent is None:
            return None
        folder = self.base_dir / self.parent / "checkpoints"
        manager = CheckpointManager(folder)
        for path in (manager.latest_path, manager.best_path, *reversed(manager.list_checkpoints())):
            if path.exists():
                return path
        raise CheckpointError(f"{folder}: contains no checkpoint to fork from")

    def save_config(self, config: Mapping[str, Any]) -> None:
        """Write `config_file`, the parent's name added."""
        content = {**({"parent": self.parent} if self.parent else {}), **config}
        with replacing(self.config_file) as aside:
            aside.write_text(to_yaml(content), encoding="utf-8")

    @staticmethod
    def epochs_of(base_dir: str | os.PathLike[str], name: str) -> int:
        """Return the epochs of the newest checkpoint of the experiment `name`; 0 without one."""
        folder = existing_experiment(Path(base_dir), name) / "checkpoints"
        state = CheckpointManager(folder).load_latest()
        return int(state["epoch"]) if state else 0

    @classmethod
    def config_of(cls, base_dir: str | os.PathLike[str], name: str) -> dict[str, Any]:
        """Return the config file's content of the experiment `name`; empty if it has none.

        Raises:
            ConfigurationError: when there is no such experiment.
        """
        folder = existing_experiment(Path(base_dir), name)
        path = folder / CONFIG_NAME
        return load_yaml(path) if path.exists() else {}


def existing_experiment(base_dir: Path, name: str) -> Path:
    """The folder of the experiment `name`.

    Raises:
        ConfigurationError: when there is none; lists those there are.
    """
    names = experiment_names(base_dir)
    if name not in names:
        raise ConfigurationError(f"{base_dir}: {unknown_name('experiment', name, names)}")
    return base_dir / name


def experiment_names(base_dir: Path) -> list[str]:
    """Return the names of the experiments in `base_dir`, by number."""
    folders = [path for path in base_dir.glob("exp*") if _number(path)]
    return [path.name for path in sorted(folders, key=_number)]


def _number(path: Path) -> int:
    """3 for `exp3`; 0 for what is no experiment."""
    found = re.fullmatch(r"exp([1-9]\d*)", path.name)
    return int(found[1]) if found and path.is_dir() else 0
