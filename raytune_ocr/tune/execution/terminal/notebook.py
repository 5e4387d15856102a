"""The live table in a Jupyter notebook: HTML in the cell's output, replaced as trials report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from html import escape
from typing import Any

from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.execution.terminal.live_table import columns_that_fit, visible

MOST_ROWS = 50
WIDE = 10_000  # characters: a notebook scrolls, so no column is left out


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module else None
    return getattr(shell, "kernel", None) is not None


def html_table(records: Sequence[TrialRecord], heading: str) -> str:
    """Return the heading and a row for each trial as HTML, at most `MOST_ROWS` of them."""
    shown = visible(records, MOST_ROWS)
    columns = columns_that_fit(shown, WIDE) if shown else {}
    more = len(records) - len(shown)
    return "".join(
        (
            f"<p>{escape(heading)}</p><table><thead>{_row('th', columns)}</thead><tbody>",
            *(_row("td", cells) for cells in zip(*columns.values(), strict=True)),
            f"</tbody></table>{f'<p>and {more} more</p>' if more else ''}",
        )
    )


def _row(tag: str, cells: Sequence[str] | dict[str, Any]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


class NotebookOutput:
    """An output of the current cell that is replaced by each update."""

    def __init__(self) -> None:
        self._handle: Any = None

    def update(self, html: str) -> None:
        """Show this instead of what is shown."""
        from IPython.display import HTML, display

        if self._handle is None:
            self._handle = display(HTML(html), display_id=True)
        else:
            self._handle.update(HTML(html))
