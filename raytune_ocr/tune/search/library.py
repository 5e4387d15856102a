"""A folder of finished runs' trials and curves, which later runs learn from.

Each run adds one file, `RUN_ID.json`; a resumed run writes its file again.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from raytune_ocr.errors import ConfigurationError, RaytuneOCRError
from raytune_ocr.files import make_folder
from raytune_ocr.results.document import write_json
from raytune_ocr.tune.search.warm_start import Known, KnownPoints, read_known

logger = logging.getLogger(__name__)

VERSION = 1
MOST_STUDIES = 8
"""Studies that a run learns from: the newest ones."""


def read_library(folder: str | os.PathLike[str]) -> list[Known]:
    """Return the trials of the newest studies; a file that is none of its own is named and skipped.

    Raises:
        ConfigurationError: the folder cannot be read.
    """
    path = Path(folder)
    if not path.exists():  # the first run makes it
        return []
    try:
        files = [file for file in path.iterdir() if not file.name.startswith(".")]
        files.sort(key=lambda file: (-file.stat().st_mtime, file.name))
    except OSError as error:
        raise ConfigurationError(f"--library: {path}: must be a readable folder: {error}") from None
    points: list[Known] = []
    studies = 0
    for file in files:
        try:
            points += _study(file)
            studies += 1
        except (OSError, ValueError, RecursionError, RaytuneOCRError) as error:
            logger.warning("--library: %s skipped, not a study of this folder: %s", file, error)
        if studies == MOST_STUDIES:
            break
    return points


def add_to_library(folder: str | os.PathLike[str], run_id: str, results: Path) -> None:
    """Write a run's trials and curves; a folder that cannot be written is a warning.

    Args:
        results: the run's results JSON.
    """
    try:
        known = read_known([results])
        if not known.points:
            return
        make_folder(Path(folder))
        file = Path(folder) / f"{run_id}.json"
        write_json(file, {"version": VERSION, "trials": known.kept()})
    except (OSError, RaytuneOCRError) as error:
        logger.warning("--library: %s: the run was not added: %s", folder, error)


def _study(file: Path) -> list[Known]:
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise ValueError(f"must have version {VERSION}")
    points = KnownPoints.of_kept(content.get("trials") or ()).points
    if not points:
        raise ValueError("has no completed trial")
    return list(points)
