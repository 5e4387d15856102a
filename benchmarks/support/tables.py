"""Tables of recorded learning curves: many settings of one task, with the loss of each epoch.

A file `*.npz` holds `tasks` [t], `names` [d] of the settings, `configs` [n, d] in their own units,
`loss` [t, n, epochs + 1] (the first before any training) and `finite` [t, n], false where a curve
holds a NaN or an infinity. `scales` [d] is optional: `log`, `log1m` (the logarithm of 1 - value),
`linear` or `choice` (the value is the number of a choice). Without it all settings are on log
scales, those named beta* of 1 - value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.space.domains import Domain

Array = NDArray[np.float64]
SCALES = ("log", "log1m", "linear", "choice")
KEYS = ("tasks", "names", "configs", "loss", "finite")
UNIT = Domain("uniform", (0.0, 1.0))


@dataclass(frozen=True)
class Table:
    """The learning curves of one task.

    Attributes:
        places: of each config [n, d] in the unit cube; of a choice the number of its value; NaN
            where the condition of a setting does not hold.
        loss: after each epoch [n, epochs]; NaN from where training diverged.
        domains: of each setting, in the order of the columns.
        kind: tables of one kind are counted together.
        relatives: other tasks of the same kind and space.
    """

    name: str
    places: Array
    loss: Array
    domains: Mapping[str, Domain] = field(default_factory=dict)
    kind: str = "recorded"
    relatives: Sequence[Table] = ()

    @property
    def epochs(self) -> int:
        """The length of a full training."""
        return self.loss.shape[1]

    @cached_property
    def scores(self) -> list[list[float]]:
        """Return the score for a search after each epoch: the best so far, higher is better."""
        best = np.fmin.accumulate(self.loss, axis=1)
        scores: list[list[float]] = (-np.where(np.isnan(self.loss), np.nan, best)).tolist()
        return scores

    @cached_property
    def best(self) -> float:
        """The lowest loss of all."""
        return float(np.nanmin(self.loss))

    @cached_property
    def scale(self) -> float:
        """From the best to the median after one epoch: a regret of 1."""
        return float(np.nanmedian(self.loss[:, 0])) - self.best

    @cached_property
    def worst(self) -> float:
        """The highest loss of all, for searches that cannot take a NaN."""
        return float(np.nanmax(self.loss))

    @cached_property
    def _is_choice(self) -> NDArray[np.bool_]:
        return np.array([domain.is_list for domain in self.domains.values()])

    def values(self, config: int) -> dict[str, Any]:
        """The settings of a config by name, those that apply."""
        columns = zip(self.domains.items(), self.places[config], strict=True)
        return {
            name: domain.values[int(place)] if domain.is_list else float(place)
            for (name, domain), place in columns
            if not np.isnan(place)
        }

    def nearest(self, values: Mapping[str, Any], free: NDArray[np.bool_]) -> int:
        """The nearest of the free configs, of which there must be one.

        Euclidean in the unit cube; another value of a choice is farther than anything else.
        """
        rows = np.flatnonzero(free)
        far = np.abs(self.places[rows] - self._place(values))
        choice = self._is_choice
        squares = np.where(np.isnan(far), 0.0, far) ** 2
        squares[:, choice] = np.where(squares[:, choice] > 0, float(far.shape[1]), 0.0)
        return int(rows[squares.sum(1).argmin()])

    def _place(self, values: Mapping[str, Any]) -> Array:
        return np.array(
            [
                np.nan
                if name not in values
                else domain.values.index(values[name])
                if domain.is_list
                else values[name]
                for name, domain in self.domains.items()
            ],
            dtype=float,
        )


def read_tables(path: Path) -> list[Table]:
    """The tasks of a file, configs that diverged left out.

    Raises:
        ConfigurationError: the file is not a table.
    """
    try:
        with np.load(path) as data:
            missing = [key for key in KEYS if key not in data]
            if missing:
                raise ConfigurationError(f"{path}: must hold {', '.join(KEYS)}, lacks {missing[0]}")
            content = {key: data[key] for key in data}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: must be an npz of learning curves: {error}") from error
    names = [str(name) for name in content["names"]]
    scales = [str(scale) for scale in content.get("scales", _usual_scales(names))]
    if wrong := set(scales) - set(SCALES):
        raise ConfigurationError(f"{path}: scales: must be of {', '.join(SCALES)}, got {wrong}")
    columns = [
        unit(column, scale) for column, scale in zip(content["configs"].T, scales, strict=True)
    ]
    places = np.stack(columns, axis=1)
    domains = {
        name: Domain("choice", tuple(map(str, range(int(column.max()) + 1))))
        if scale == "choice"
        else UNIT
        for name, scale, column in zip(names, scales, columns, strict=True)
    }
    return [
        Table(str(task), places[finite], capped(loss[finite]), domains, path.stem)
        for task, loss, finite in zip(
            content["tasks"], content["loss"], content["finite"], strict=True
        )
    ]


def _usual_scales(names: Sequence[str]) -> list[str]:
    return ["log1m" if name.startswith("beta") else "log" for name in names]


def unit(column: Array, scale: str) -> Array:
    """A setting in [0, 1] on its scale; a choice keeps its numbers."""
    scaled = column.astype(float)
    if scale == "choice":
        return scaled
    if scale != "linear":
        scaled = np.log(1.0 - scaled if scale == "log1m" else scaled)
    width = scaled.max() - scaled.min()
    return (scaled - scaled.min()) / (width or 1.0)


def capped(loss: Array) -> Array:
    """Losses after each epoch of training, at most twice that of the untrained."""
    return np.minimum(loss, 2.0 * loss[:, :1]).astype(float)[:, 1:]
