"""Points that earlier runs have tried: they inform a search, and are not trained again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raytune_ocr.config.settings import RULES
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.analysis import score_of, winner_name
from raytune_ocr.results.document import read_document
from raytune_ocr.results.journal import SETTINGS_THAT_MAY_CHANGE, STATE_FILE
from raytune_ocr.results.record import CUT
from raytune_ocr.tune.space.search_space import Space

KNOWN = "known"  # the kind of the note, in a run's state, of what its sources told as it began


@dataclass(frozen=True)
class Known:
    """One trial of an earlier run.

    Attributes:
        source: the file that tells of it.
        fields: of its config, parts of one as `model_options.width`; the original system's results
            tell seven.
        score: 0..1, as `analysis.score_of` has it.
        result: the whole entry of the JSON.
        won: whether its run names it the best one, which goes by confirmation, or a loss, if so
            asked.
    """

    source: str
    fields: Mapping[str, Any]
    score: float
    result: Mapping[str, Any] = field(default_factory=dict)
    won: bool = False

    @property
    def name(self) -> str:
        """Of the trial."""
        return str(self.result.get("experiment_name", "?"))

    @property
    def was_cut(self) -> bool:
        """Whether it ended with its run, so that a resume of that would train it on."""
        return self.result.get("stop_reason") in CUT

    def __str__(self) -> str:
        return f"{self.name} of {self.source} was the same and reached {self.score:.4f}"

    def is_of(self, wanted: Mapping[str, Any]) -> bool:
        """Whether these `flattened` fields are the same in all that is told and that decides."""
        told = {name: v for name, v in self.fields.items() if name.split(".")[0] in RULES}
        deciding = [n for n in told if n not in (*SETTINGS_THAT_MAY_CHANGE, "experiment_name")]
        if "metadata_path" in told:
            named = (Path(fields["metadata_path"]).absolute() for fields in (told, wanted))
            if len(set(named)) > 1:
                return False
        return bool(deciding) and all(wanted.get(name) == told[name] for name in deciding)


@dataclass(frozen=True)
class KnownPoints:
    """All that earlier runs tell.

    Attributes:
        points: their trials.
        sources: where those were read, as it was asked for.
    """

    points: Sequence[Known] = ()
    sources: Sequence[str] = ()

    def __str__(self) -> str:
        return ", ".join(self.sources)

    def of(self, config: TrainingConfig) -> Known | None:
        """The trial of an earlier run that was the same as `config`, and came to its own end."""
        there = [point for point in self.points if not point.was_cut]
        wanted = flattened(config.to_dict()) if there else {}
        return next((point for point in there if point.is_of(wanted)), None)

    def skip(self, config: TrainingConfig) -> bool:
        """Whether there is one."""
        return self.of(config) is not None

    def told_of(self, space: Space) -> str:
        """That all of `space` is known, and the best of it."""
        best = max(self.points, key=lambda point: point.score, default=None)
        told = f"; the best is {best.name} ({best.score:.4f}) of {best.source}" if best else ""
        return f"every trial of {', '.join(space.experiments)} is known already{told}"

    def kept(self) -> list[dict[str, Any]]:
        """For a run's state; results as text, since that checks the numbers that it is made of."""
        return [
            {"source": point.source, "result": json.dumps(dict(point.result)), "won": point.won}
            for point in self.points
        ]

    @classmethod
    def of_kept(cls, entries: Iterable[Mapping[str, Any]]) -> KnownPoints:
        """What `kept` gave.

        Raises:
            ConfigurationError: the state was damaged.
        """
        try:
            told = [(str(e["source"]), json.loads(e["result"]), bool(e["won"])) for e in entries]
            points = [point for one in told if (point := _point(*one))]
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"{STATE_FILE}: {KNOWN}: must be what the run's sources told, got {error!r}; "
                "put the file back from a copy"
            ) from None
        return cls(points, list(dict.fromkeys(source for source, *_ in told)))


Source = str | os.PathLike[str] | KnownPoints
"""A results JSON, an output folder, or what was read of such before."""


def read_known(sources: Sequence[Source]) -> KnownPoints:
    """Completed trials with a score, of results JSONs or output folders, the original's too.

    Raises:
        DataNotFoundError, DataLoaderError: when a source is not there or holds no results.
    """
    points: list[Known] = []
    for source in sources:
        if isinstance(source, KnownPoints):
            points.extend(source.points)
            continue
        path, document = read_document(source)
        winner = winner_name(source)
        for result in document["all_results"]:
            won = winner is not None and result.get("experiment_name") == winner
            if point := _point(str(path.absolute()), result, won):
                points.append(point)
    return KnownPoints(points, list(map(str, sources)))


def _point(source: str, result: Mapping[str, Any], won: bool) -> Known | None:
    """What an entry of a results JSON tells; None where it did not complete, or has no score."""
    score = score_of(dict(result))
    if result.get("status") != "completed" or score != score:
        return None
    fields = result.get("config") or result.get("hyperparameters") or {}
    return Known(source, flattened(fields), score, result, won)


def flattened(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Fields by name, parts of mappings and lists too: `optimizer_betas.0`."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat[prefix + name] = value
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)):
            flat |= flattened({str(i): part for i, part in enumerate(value)}, f"{prefix}{name}.")
    return flat


# Around the best one
