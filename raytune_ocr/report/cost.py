"""The report's section on what a run cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pandas as pd

from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.results.cost import costs_in_words
from raytune_ocr.results.document import read_document

if TYPE_CHECKING:
    from raytune_ocr.report.html import Section


class Tables(Protocol):
    """Writes the tables of a report."""

    def table(self, name: str, table: pd.DataFrame) -> pd.DataFrame:
        """The same table, written under that name."""


def fill_cost(source: Path, table: pd.DataFrame, section: Section, writer: Tables) -> None:
    """Add the costs of the run, and a row a preset."""
    _, document = read_document(source)
    costs = document.get("costs")
    if not costs or costs.get("cpu_hours") is None:
        raise DataNotFoundError("The results do not say what resources the trials had.")
    presets = pd.DataFrame(costs.get("presets") or []).dropna(axis="columns", how="all")
    section.tables = [writer.table("costs", presets)]
    section.text = (
        f"{costs_in_words(costs)}. Hours are the time of epochs by the resources reserved; saved "
        "is what the epochs that were not trained would have cost."
    )
