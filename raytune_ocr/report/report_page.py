"""Write the report of runs: the dashboard's page in one file, and the tables behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from raytune_ocr.dashboard.freeze import freeze
from raytune_ocr.report.tables import write_comparison, write_report_tables

PAGE = "report.html"


def write_report(
    sources: Sequence[Path], folder: Path, data: str | None = None, refresh: int = 0
) -> Path:
    """Write `report.html`, and CSV and Parquet files; return the page's path.

    Tables of several runs are in `run1`, `run2`, ..., and `runs` compares them.

    Args:
        data: images that the best reader reads (default: the config's).
        refresh: seconds after which a browser loads the page again; 0: never.

    Raises:
        DataNotFoundError, DataLoaderError: a source has no results.
    """
    content = freeze(sources, folder / PAGE, data, refresh)
    several = len(sources) > 1
    if several:
        write_comparison(sources, folder)
    for number, (source, reader) in enumerate(zip(sources, content["reader"], strict=True), 1):
        write_report_tables(source, folder / f"run{number}" if several else folder, reader)
    return folder / PAGE
