"""Points of earlier runs: they inform a search, and the same ones are not trained again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from raytune_ocr.config.metrics import MODES
from raytune_ocr.config.metrics import score_of as oriented
from raytune_ocr.config.settings import RULES
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.analysis import learning_curves, score_of, winner_name
from raytune_ocr.results.document import read_document
from raytune_ocr.results.journal import SETTINGS_THAT_MAY_CHANGE, STATE_FILE
from raytune_ocr.results.record import CUT
from raytune_ocr.tune.space.search_space import Space

KNOWN = "known"  # the journal's fact with the points of a run's sources at its start


@dataclass(frozen=True)
class Known:
    """One trial of an earlier run.

    Attributes:
        source: the file with its result.
        fields: of its config, parts of a field as `model_options.width`; results of the original
            system have seven.
        score: 0..1, by `analysis.score_of`.
        result: the entry of the JSON.
        won: whether its run names it the best trial.
        curve: the monitored metric of each epoch, higher is better; empty if it is not recorded.
    """

    source: str
    fields: Mapping[str, Any]
    score: float
    result: Mapping[str, Any] = field(default_factory=dict)
    won: bool = False
    curve: Mapping[int, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the trial."""
        return str(self.result.get("experiment_name", "?"))

    @property
    def was_cut(self) -> bool:
        """Whether it ended with its run, so that a resume would train it further."""
        return self.result.get("stop_reason") in CUT

    def __str__(self) -> str:
        return f"{self.name} of {self.source} has the same settings and reached {self.score:.4f}"

    def is_of(self, wanted: Mapping[str, Any]) -> bool:
        """Whether these `flattened` fields equal all its recorded fields that affect training."""
        own = {name: v for name, v in self.fields.items() if name.split(".")[0] in RULES}
        deciding = [n for n in own if n not in (*SETTINGS_THAT_MAY_CHANGE, "experiment_name")]
        if "metadata_path" in own:
            named = (Path(fields["metadata_path"]).absolute() for fields in (own, wanted))
            if len(set(named)) > 1:
                return False
        return bool(deciding) and all(wanted.get(name) == own[name] for name in deciding)


@dataclass(frozen=True)
class KnownPoints:
    """The trials of earlier runs.

    Attributes:
        points: their trials.
        sources: their files and folders, as the caller gave them.
        library: trials of a study library, which only inform: they are trained again.
    """

    points: Sequence[Known] = ()
    sources: Sequence[str] = ()
    library: Sequence[Known] = ()

    def __str__(self) -> str:
        return ", ".join(self.sources)

    def of(self, config: TrainingConfig) -> Known | None:
        """Return the earlier trial with the same config that was not cut short, or None."""
        there = [point for point in self.points if not point.was_cut]
        wanted = flattened(config.to_dict()) if there else {}
        return next((point for point in there if point.is_of(wanted)), None)

    def skip(self, config: TrainingConfig) -> bool:
        """Whether there is a trial with the same config."""
        return self.of(config) is not None

    def summary(self, space: Space) -> str:
        """Say that all trials of `space` are known, and which is the best."""
        best = max(self.points, key=lambda point: point.score, default=None)
        which = f"; the best is {best.name} ({best.score:.4f}) of {best.source}" if best else ""
        return f"every trial of {', '.join(space.experiments)} is already in the results{which}"

    def kept(self) -> list[dict[str, Any]]:
        """Return entries for the journal; results as text, because the journal checks numbers."""
        return [
            {
                "source": point.source,
                "result": json.dumps(dict(point.result)),
                "won": point.won,
                "curve": json.dumps(list(point.curve.items())),
            }
            for point in self.points
        ]

    @classmethod
    def of_kept(cls, entries: Iterable[Mapping[str, Any]]) -> KnownPoints:
        """Read the entries of `kept`.

        Raises:
            ConfigurationError: the journal is damaged.
        """
        try:
            points = [point for entry in entries if (point := _of_kept(entry))]
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{STATE_FILE}: {KNOWN}: must be results of the run's sources, got {error!r}; "
                "restore the file from a backup"
            ) from None
        return cls(points, list(dict.fromkeys(point.source for point in points)))


Source = str | os.PathLike[str] | KnownPoints
"""A results JSON, an output folder, or points that were read before."""


def read_known(sources: Sequence[Source]) -> KnownPoints:
    """Read completed trials with a score from results JSONs or output folders.

    Raises:
        DataNotFoundError, DataLoaderError: a source does not exist or has no results.
    """
    points: list[Known] = []
    for source in sources:
        if isinstance(source, KnownPoints):
            points.extend(source.points)
            continue
        path, document = read_document(source)
        winner, curves = winner_name(source), recorded_epochs(source)
        for result in document["all_results"]:
            won = winner is not None and result.get("experiment_name") == winner
            rows = curves.get(str(result.get("experiment_name")), ())
            if point := _point(str(path.absolute()), result, won, rows):
                points.append(point)
    return KnownPoints(points, list(map(str, sources)))


def recorded_epochs(source: str | os.PathLike[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each trial's epochs by name; none if the run's table is not there."""
    table = learning_curves(source)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_dict("records") if "experiment_name" in table else []:
        named = {str(column): value for column, value in row.items()}
        found.setdefault(str(row["experiment_name"]), []).append(named)
    return found


def _of_kept(entry: Mapping[str, Any]) -> Known | None:
    point = _point(str(entry["source"]), json.loads(entry["result"]), bool(entry["won"]))
    curve = {int(epoch): float(score) for epoch, score in json.loads(entry.get("curve", "[]"))}
    return replace(point, curve=curve) if point else None


def _point(
    source: str, result: Mapping[str, Any], won: bool, rows: Iterable[Mapping[str, Any]] = ()
) -> Known | None:
    """Return the point of an entry of a results JSON; None if it has no final score."""
    score = score_of(dict(result))
    if result.get("status") != "completed" or score != score:
        return None
    fields = result.get("config") or result.get("hyperparameters") or {}
    monitor, mode = (str(fields.get(f"early_stopping_{name}")) for name in ("monitor", "mode"))
    curve = {
        int(row["epoch"]): oriented(float(row[monitor]), mode)
        for row in rows
        if monitor in row and mode in MODES
    }
    return Known(source, flattened(fields), score, result, won, curve)


def flattened(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return fields by name, with the parts of mappings and lists: `optimizer_betas.0`."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat[prefix + name] = value
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            flat |= flattened({str(i): part for i, part in enumerate(value)}, f"{prefix}{name}.")
    return flat
