"""Make foreign text safe to show: no terminal escapes, no formulas, no unprintable characters."""

from __future__ import annotations

import re
import unicodedata

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, direction marks, lone surrogates
SECRETS = re.compile(
    r"((?<=://)[^/\s:@]*:)[^\s@/]+(?=@)"
    r"|([?&;][^=&;\s]*(?:key|secret|token|password|credential|sig)[^=&;\s]*=)[^&;\s]+",
    re.IGNORECASE,
)
JOINERS = "\u200b\u200c\u200d"  # Khmer and Indic text is written with them


def printable(text: str, encoding: str | None = None) -> str:
    """Return `text` as one safe line: control characters become escapes such as `\\x1b`.

    Bytes of a file name that are not UTF-8 are shown as `\\xe9`.

    Args:
        encoding: characters outside it are escaped too.

    >>> printable("scan\\x1b[2J.png")
    'scan\\\\x1b[2J.png'
    """
    shown = "".join(map(_shown, text))
    return shown.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


def spreadsheet_cell(text: str) -> str:
    """Return `text` with a quote in front if a spreadsheet would run it as a formula.

    Numbers stay as they are, also negative ones.

    >>> spreadsheet_cell("=HYPERLINK(1)"), spreadsheet_cell("-1.5"), spreadsheet_cell("a=b")
    ("'=HYPERLINK(1)", '-1.5', 'a=b')
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) and not _is_number(text) else text


def masked(text: str) -> str:
    """Return `text` with the secrets in its URIs as `***`: passwords, and parameters with keys.

    >>> masked("s3://id:secret@bucket/run?region=eu&secret_key=abc")
    's3://id:***@bucket/run?region=eu&secret_key=***'
    """
    return SECRETS.sub(lambda found: (found[1] or found[2]) + "***", text)


def _shown(char: str) -> str:
    if unicodedata.category(char) not in HIDDEN or char in JOINERS:
        return char
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is no UTF-8
        code -= 0xDC00
    return (
        f"\\x{code:02x}"
        if code < 0x100
        else f"\\u{code:04x}"
        if code < 0x10000
        else f"\\U{code:08x}"
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return not text.startswith(("\t", "\r"))
