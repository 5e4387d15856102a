"""What a run leaves to read: one JSON, `trials.csv` and `epochs.csv`, and how to load them."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from raytune_ocr.config import TrainingConfig
from raytune_ocr.errors import DataLoaderError, DataNotFoundError
from raytune_ocr.files import replacing
from raytune_ocr.tune.budget import CUT
from raytune_ocr.tune.resources import NO_RESOURCES, Resources
from raytune_ocr.tune.space import LOWER_IS_BETTER, TARGETS

if TYPE_CHECKING:
    import pandas as pd

HYPERPARAMETERS = (
    "model_name",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "loss_type",
    "scheduler_type",
    "optimizer_type",
)
EPOCH_COLUMNS = (
    "experiment_name",
    "epoch",
    "train_loss",
    "train_char_accuracy",
    "val_loss",
    "val_char_accuracy",
    "val_seq_accuracy",
    "val_cer",
    "learning_rate",
    "batch_size",
    "threads",
    "seconds",
    "images_per_second",
    "memory_mb",
    "cpu_percent",
)
MORE_EPOCH_COLUMNS = ("train_accuracy", "val_accuracy", "gpu_memory_mb")  # where there are any
RESULTS_COPY = "results.json"  # in the output folder, besides the file that was asked for
EPOCHS_TABLE, TRIALS_TABLE = "epochs.csv", "trials.csv"
CONFIRMING_EPOCHS_TABLE = "confirmation_epochs.csv"
CONFIRMING_TRIALS_TABLE = "confirmation_trials.csv"
CONFIRMING_TABLES = (CONFIRMING_TRIALS_TABLE, CONFIRMING_EPOCHS_TABLE)
FINISHED = ("completed", "failed")
USED = ("batch_size_used", "accumulation_used", "threads")
SCORES = ("best_val_char_accuracy", "best_val_seq_accuracy", "best_val_accuracy")


@dataclass
class TrialRecord:
    """All that is known of one trial.

    Attributes:
        status: pending, running, completed or failed.
        stop_reason: max_epochs, early_stopping, scheduler, trial_timeout, time_budget, target,
            nan, error, or "".
        epochs: a row of metrics for each epoch, in order, without gaps or doubles.
        used: `threads`, and `batch_size_used` and `accumulation_used` where memory did not do for
            the config's.
        unsaved: rows that the run's state does not have yet.
        confirms: the trial of the search that this one trains again with another seed, or "".
        parent: the trial whose first `parent_epoch` epochs are this one's as well, or "".
    """

    config: TrainingConfig
    status: str = "pending"
    stop_reason: str = ""
    error_message: str = ""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    used: dict[str, int] = field(default_factory=dict)
    search: str = ""
    sampled: Mapping[str, Any] = field(default_factory=dict)
    resources: Resources = NO_RESOURCES
    unsaved: list[dict[str, Any]] = field(default_factory=list)
    confirms: str = ""
    parent: str = ""
    parent_epoch: int = 0

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.config.experiment_name

    @property
    def config_used(self) -> TrainingConfig:
        """What to go on with: the config, or less of a batch where memory did not do for it."""
        config, used = self.config, self.used
        return dataclasses.replace(
            config,
            batch_size=used.get("batch_size_used", config.batch_size),
            gradient_accumulation_steps=used.get(
                "accumulation_used", config.gradient_accumulation_steps
            ),
        )

    def add(self, result: Mapping[str, Any]) -> None:
        """Take in a report; an epoch that was done again replaces what it was before."""
        if "epoch" not in result:
            return
        names = (*EPOCH_COLUMNS, *MORE_EPOCH_COLUMNS)
        row = {name: result[name] for name in names if name in result}
        row["experiment_name"] = self.name
        self.epochs = [old for old in self.epochs if old["epoch"] < row["epoch"]]
        self.epochs.append(row)
        self.unsaved.append(row)
        self.used |= {name: result[name] for name in USED if name in result}

    @property
    def is_over(self) -> bool:
        """Whether a resume has nothing left to do for it; not so if only the run ended it."""
        return self.status in FINISHED and self.stop_reason not in CUT

    @property
    def best(self) -> dict[str, Any]:
        """The row of the epoch that `best_model.pt` is of."""
        return dict(self.config.best_of(self.epochs))

    @property
    def score_name(self) -> str:
        """What trials of this kind are ranked by first."""
        reads = "val_char_accuracy" in self.best
        return "val_char_accuracy" if reads else self.config.early_stopping_monitor

    @property
    def score(self) -> tuple[float, ...]:
        """What it is ranked by, higher is better: character, then sequence accuracy.

        Classifiers, which have neither, go by the metric that they were told to follow.
        """
        best = self.best
        if self.score_name == "val_char_accuracy":
            return best["val_char_accuracy"], best["val_seq_accuracy"]
        sign = 1 if self.config.early_stopping_mode == "max" else -1
        return (sign * best[self.config.early_stopping_monitor],)

    def mean_score(self, epoch: int) -> float:
        """Mean of what is monitored up to `epoch`, higher is better; NaN where there is none."""
        monitor = self.config.early_stopping_monitor
        sign = 1 if self.config.early_stopping_mode == "max" else -1
        values = [row.get(monitor, math.nan) for row in self.epochs if row["epoch"] <= epoch]
        known = [value for value in values if not math.isnan(value)]
        return sign * fmean(known) if known else math.nan

    @property
    def checkpoint(self) -> Path | None:
        """The best model, if it is there."""
        folder = Path(self.config.output_dir) / self.name
        path = (folder / "checkpoints" / "best_model.pt").absolute()
        return path if path.exists() else None

    def to_result(self, targets: Mapping[str, float]) -> dict[str, Any]:
        """One entry of the JSON."""
        best, config = self.best, self.config.to_dict()
        seconds = sum(row["seconds"] for row in self.epochs)
        result = {
            "experiment_name": self.name,
            "status": self.status,
            "stop_reason": self.stop_reason,
            "training_time": seconds,
            "best_val_char_accuracy": best.get("val_char_accuracy"),
            "best_val_seq_accuracy": best.get("val_seq_accuracy"),
            "best_epoch": best.get("epoch"),
            "final_train_loss": self.epochs[-1]["train_loss"] if self.epochs else None,
            "total_epochs": len(self.epochs),
            "train_time_per_epoch": seconds / len(self.epochs) if self.epochs else None,
            "hyperparameters": {name: config[name] for name in HYPERPARAMETERS}
            | dict(self.sampled),
            "seed": config["seed"],
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "config": config,
        }
        result.update(self.used)
        if self.search:
            result["search"], result["sampled"] = self.search, dict(self.sampled)
        if self.parent:
            result["parent"], result["parent_epoch"] = self.parent, self.parent_epoch
        if "val_accuracy" in best:
            result["best_val_accuracy"] = best["val_accuracy"]
        if self.status == "failed":
            result["error_message"] = self.error_message
        result["targets"] = compare_with_targets(result, targets)
        return result


def compare_with_targets(
    result: Mapping[str, Any], targets: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """For each target its goal, the value reached, and whether it is met."""
    compared = {}
    for name, goal in targets.items():
        value = result.get(TARGETS[name])
        if value is None:
            met = False
        else:
            met = value <= goal if name in LOWER_IS_BETTER else value >= goal
        compared[name] = {"goal": goal, "value": value, "met": met}
    return compared


def ranking(records: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Completed trials of the search, best score first; those that confirm have no place."""
    finished = [r for r in records if r.status == "completed" and r.best and not r.confirms]
    return sorted(finished, key=lambda record: record.score, reverse=True)


def results_document(
    records: Sequence[TrialRecord],
    targets: Mapping[str, float],
    timestamp: str,
    *,
    best: TrialRecord | None = None,
    confirmation: Mapping[str, Any] | None = None,
    held_out: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """The whole JSON, of what is finished so far.

    Args:
        best: the winner (default: the first of the ranking).
        confirmation: what `confirm.confirmation` says, if anything was confirmed.
        held_out: further figures of trials by name, read once from the test split.
    """
    best = best or next(iter(ranking(records)), None)
    searched = [record for record in records if not record.confirms]

    def result(record: TrialRecord) -> dict[str, Any]:
        return {**record.to_result(targets), **(held_out or {}).get(record.name, {})}

    return {
        "timestamp": timestamp,
        "experiments_completed": sum(r.status == "completed" for r in searched),
        "best_result": result(best) if best else None,
        "all_results": [result(record) for record in searched if record.status in FINISHED],
        "targets": dict(targets),
        "environment": environment(),
        **({"confirmation": dict(confirmation)} if confirmation else {}),
    }


@cache
def environment() -> dict[str, Any]:
    """Versions and the machine that results were made with."""
    from importlib.metadata import version

    import psutil
    import torch

    return {
        **{package: version(package) for package in ("ray", "torch", "numpy", "pandas")},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_count": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def finite(value: Any) -> Any:
    """`value` with NaN and infinities as None, all the way down."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def write_json(path: str | os.PathLike[str], document: Mapping[str, Any]) -> None:
    """Valid JSON, aside and then in place."""
    with replacing(path) as aside:
        text = json.dumps(finite(document), indent=2, ensure_ascii=False, allow_nan=False)
        aside.write_text(text + "\n", encoding="utf-8")


def epochs_table(records: Iterable[TrialRecord]) -> pd.DataFrame:
    """A row a trial and epoch: `EPOCH_COLUMNS`, those left out that no trial has."""
    import pandas as pd

    rows = [row for record in records for row in record.epochs]
    present = {name for row in rows for name in row} or set(EPOCH_COLUMNS)
    columns = [name for name in (*EPOCH_COLUMNS, *MORE_EPOCH_COLUMNS) if name in present]
    return pd.DataFrame(rows, columns=columns)


def results_table(results: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row a result, hyper-parameters as columns of their own names."""
    import pandas as pd

    rows = []
    for result in results:
        flat = {k: v for k, v in result.items() if not isinstance(v, (dict, list))}
        flat.setdefault("error_message", result.get("error"))
        flat.pop("error", None)
        rows.append({**flat, **result.get("hyperparameters", {})})
    return pd.DataFrame(rows)


def write_tables(
    folder: Path, records: Sequence[TrialRecord], targets: Mapping[str, float]
) -> None:
    """`trials.csv` and `epochs.csv`; of trials that confirm others `confirmation_*.csv`."""
    for confirming, trials, epochs in (
        (False, TRIALS_TABLE, EPOCHS_TABLE),
        (True, CONFIRMING_TRIALS_TABLE, CONFIRMING_EPOCHS_TABLE),
    ):
        some = [record for record in records if bool(record.confirms) == confirming]
        if confirming and not some:
            continue
        results = results_table(record.to_result(targets) for record in some)
        for name, table in ((trials, results), (epochs, epochs_table(some))):
            with replacing(folder / name) as aside:
                table.to_csv(aside, index=False)


def load_results(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> pd.DataFrame:
    """Results as a table: a row a trial, best first.

    Args:
        source: a results JSON (also the original system's), an output folder, or a list of
            either; with several, a column `source` tells them apart.

    Returns:
        The JSON's figures and hyper-parameters by their own names: accuracies from 0 to 1, times
        in seconds. The original's `Infinity` becomes NaN, its `error` `error_message`.

    Raises:
        DataNotFoundError: when there is no such file, or a folder holds no results.
        DataLoaderError: when a file is no results JSON.
    """
    import pandas as pd

    if not isinstance(source, (str, os.PathLike)):
        tables = [load_results(one).assign(source=str(one)) for one in source]
        return best_first(pd.concat(tables, ignore_index=True)) if tables else pd.DataFrame()
    _, document = read_document(source)
    table = results_table(document["all_results"])
    for name in SCORES:
        if name in table:
            table[name] = pd.to_numeric(table[name], errors="coerce")
    return best_first(table)


def best_first(table: pd.DataFrame) -> pd.DataFrame:
    """By score, rows of equal ones in the order they had; as it is where there are no scores."""
    scores = [name for name in SCORES if name in table]
    if not scores:
        return table
    return table.sort_values(scores, ascending=False, ignore_index=True, kind="stable")


def read_document(source: str | os.PathLike[str]) -> tuple[Path, dict[str, Any]]:
    """A results JSON or the one in a folder: its path, and what it holds, infinities gone.

    Raises:
        DataNotFoundError: when there is none.
        DataLoaderError: when it is no results JSON.
    """
    path = Path(source)
    if _is_folder(path):
        path = _document_in(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataNotFoundError(f"{path}: no such results file") from None
    except (OSError, ValueError) as error:
        raise DataLoaderError(f"{path}: not a readable results file: {error}") from None
    try:
        document = finite(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise DataLoaderError(f"{path}: not valid JSON: {error}") from None
    results = document.get("all_results") if isinstance(document, dict) else None
    if isinstance(results, list) and all(map(_is_result, results)):
        return path, document
    raise DataLoaderError(
        f"{path}: must hold all_results, a list of results with hyperparameters each"
    )


def _is_result(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("hyperparameters", {}), dict)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long, or a NUL in it: no folder
        return False


def _document_in(folder: Path) -> Path:
    """The results in an output folder, or the newest results JSON in another one."""
    if (folder / RESULTS_COPY).exists():
        return folder / RESULTS_COPY
    found = list(folder.glob("hyperparameter_tuning_results_*.json"))
    if not found:
        raise DataNotFoundError(
            f"{folder}: holds neither {RESULTS_COPY} nor hyperparameter_tuning_results_*.json"
        )
    return max(found, key=lambda path: path.stat().st_mtime)
