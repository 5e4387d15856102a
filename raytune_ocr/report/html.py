"""Write a self-contained HTML page with tables and images."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--line:#d0d7de;--soft:#f3f5f8}
@media(prefers-color-scheme:dark){
:root{--back:#14171b;--text:#e4e8ec;--line:#3a424b;--soft:#1d2228}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--back);color:var(--text);
font:16px/1.5 system-ui,sans-serif}
nav a{display:inline-block;margin:0 .8rem .3rem 0;color:inherit}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.85rem;margin:.5rem 0}
th,td{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;white-space:nowrap}
td.long{white-space:normal;min-width:16rem;overflow-wrap:anywhere}
th{background:var(--soft)}
img{max-width:min(100%,48rem);min-width:30rem;height:auto}
.none{padding:.6rem;background:var(--soft);border-left:4px solid var(--line)}
h2{border-top:1px solid var(--line);padding-top:1rem}
"""


@dataclass
class Section:
    """A heading with a sentence, images and tables; `note` says why something is missing."""

    name: str
    title: str
    text: str = ""
    pictures: list[Path] = field(default_factory=list)
    tables: list[pd.DataFrame] = field(default_factory=list)
    note: str = ""


def page(title: str, sections: Sequence[Section], refresh: int = 0) -> str:
    """Return the HTML; it reloads itself every `refresh` seconds unless that is 0."""
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    links = "".join(f'<a href="#{s.name}">{html.escape(s.title)}</a>' for s in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,">{again}'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1><nav>{links}</nav>"
        f"{''.join(map(_section, sections))}</body></html>\n"
    )


def _section(section: Section) -> str:
    parts = [f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2>']
    if section.text:
        parts.append(f"<p>{html.escape(section.text)}</p>")
    parts.extend(_picture(path, section.title) for path in section.pictures)
    parts.extend(_table(table) for table in section.tables)
    if section.note:
        parts.append(f'<p class="none">{html.escape(section.note)}</p>')
    return "".join(parts) + "</section>"


def _picture(path: Path, title: str) -> str:
    """Return the PNG, and the one in `dark/` for dark colour schemes."""
    return (
        '<p class="wide"><picture>'
        f'<source media="(prefers-color-scheme:dark)" srcset="{_data(dark(path))}">'
        f'<img alt="{html.escape(title)}" src="{_data(path)}"></picture></p>'
    )


def dark(path: Path) -> Path:
    """Return the path of an image's dark version."""
    return path.parent / "dark" / path.name


def _data(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _table(table: pd.DataFrame) -> str:
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in table)
    rows = "".join(
        "<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.itertuples(index=False)
    )
    return f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        text = "–"
    elif isinstance(value, float):
        text = f"{value:.5g}"
    else:
        text = str(value)
    return f"<td{' class=long' if len(text) > 40 else ''}>{html.escape(text)}</td>"
