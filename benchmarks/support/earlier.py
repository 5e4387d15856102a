"""What earlier studies would have left: configs of other tables with their curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.support.tables import Table
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.search.warm_start import Known, KnownPoints

MODES = ("near", "far", "misleading")
CONFIGS = 150
"""Configs of each earlier study, trained to their ends."""
STUDIES = 5


def known_points(others: Sequence[Table], mode: str, seed: int) -> KnownPoints:
    """The trials of one study of each other table.

    Args:
        mode: `near`: as they are; `far`: each config has the curve of another one; `misleading`:
            scores negated.
    """
    points: list[Known] = []
    for number, table in enumerate(others[:STUDIES]):
        rng = np.random.default_rng([seed, number])
        configs = rng.permutation(len(table.loss))[:CONFIGS]
        curves = rng.permutation(configs) if mode == "far" else configs
        for config, curve in zip(configs.tolist(), curves.tolist(), strict=True):
            points.append(_known(table, config, curve, -1.0 if mode == "misleading" else 1.0))
    return KnownPoints(points)


def _known(table: Table, config: int, curve: int, sign: float) -> Known:
    scores = {epoch: sign * score for epoch, score in enumerate(table.scores[curve], 1)}
    best = max((score for score in scores.values() if score == score), default=-np.inf)
    return Known(table.name, table.values(config), float(best), curve=scores)


def with_relatives(tables: Sequence[Table]) -> list[Table]:
    """Tables that know the others of their kind and space.

    Raises:
        ConfigurationError: a table has none.
    """
    out = []
    for table in tables:
        others = [other for other in tables if other.name != table.name and _alike(other, table)]
        if not others:
            raise ConfigurationError(f"--earlier: {table.name} must have other tables of its kind")
        out.append(replace(table, relatives=others))
    return out


def _alike(one: Table, other: Table) -> bool:
    return one.kind == other.kind and one.domains.keys() == other.domains.keys()
