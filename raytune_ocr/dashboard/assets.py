"""The files of the page: served one by one, or all in one file."""

from __future__ import annotations

import base64
import html
import json
from functools import cache
from pathlib import Path
from typing import Any

from raytune_ocr.results.journal_lines import finite

FOLDER = Path(__file__).parent / "page"
SCRIPT, STYLE, MODULE = "text/javascript", "text/css", ".js"
PLOTS = "vendor/echarts.min.js"
TYPES = {".js": SCRIPT, ".css": STYLE}
LIVE_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; img-src 'self' "
    "data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FROZEN_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)


@cache
def assets() -> dict[str, tuple[str, bytes]]:
    """Return type and content of each file that the page loads, by its path in the URL."""
    own = sorted([*FOLDER.glob("*.js"), *FOLDER.glob("sections/*.js")])
    files = [FOLDER / PLOTS, *own, FOLDER / "style.css"]
    return {
        file.relative_to(FOLDER).as_posix(): (TYPES[file.suffix], file.read_bytes())
        for file in files
    }


def modules() -> list[str]:
    """Return the names of the page's own modules."""
    return [name for name in assets() if name.endswith(MODULE) and name != PLOTS]


def live_page(nonce: str) -> str:
    """Return the page that asks a server for its data."""
    return _page(
        policy="",
        style='<link rel="stylesheet" href="/assets/style.css">',
        plots=f'<script defer src="/assets/{PLOTS}"></script>',
        imports={f"page/{name}": f"/assets/{name}" for name in modules()},
        nonce=f' nonce="{nonce}"',
        data="",
        title="raytune_ocr",
    )


def frozen_page(data: dict[str, Any], title: str, refresh: int = 0) -> str:
    """Return the page with its data inside: one file, without a server and without a network."""
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{FROZEN_POLICY}">{again}'
    return _page(
        policy=policy,
        style=f"<style>{_text('style.css')}</style>",
        plots=f"<script>{_text(PLOTS)}</script>",
        imports={f"page/{name}": _data_url(name) for name in modules()},
        nonce="",
        data=f'<script type="application/json" id="frozen">{json_in_html(data)}</script>',
        title=title,
    )


def _page(
    *,
    policy: str,
    style: str,
    plots: str,
    imports: dict[str, str],
    nonce: str,
    data: str,
    title: str,
) -> str:
    places = json.dumps({"imports": imports})
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'{policy}<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title>{style}"
        f'<script type="importmap"{nonce}>{places}</script>{plots}</head>'
        f'<body><div id="page"></div>{data}'
        f'<script type="module"{nonce}>import "page/app.js";</script></body></html>\n'
    )


def json_in_html(value: Any) -> str:
    """Return JSON that no text in it can end the script element of."""
    text = json.dumps(finite(value), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _text(name: str) -> str:
    return assets()[name][1].decode("utf-8")


def _data_url(name: str) -> str:
    kind, content = assets()[name]
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
