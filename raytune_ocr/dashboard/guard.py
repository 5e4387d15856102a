"""Decide which requests the page's server answers."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

TOKEN_HEADER = "X-Raytune-Token"
LOCAL_NAMES = ("localhost",)
CROSS_SITE = ("cross-site", "same-site")  # of Sec-Fetch-Site: another origin asks


class Guard:
    """Checks the host, the token and the origin of requests.

    The host must be an address or a name of this machine, so that a foreign domain that resolves to
    it (DNS rebinding) gets nothing. Data and orders need the token in a header, which no other
    origin can set; an order needs the page's own origin as well.

    Args:
        names: more names of this machine.
        token: default: a new one of 256 bits.
    """

    def __init__(self, names: Iterable[str] = (), token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(32)
        self._names = {*LOCAL_NAMES, *(name.lower() for name in names)}

    def knows_host(self, host: str) -> bool:
        """Whether the Host header names this machine."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._names or _is_address(name)

    def knows_token(self, given: str) -> bool:
        """Whether it is the token; the comparison takes the same time for every text."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def refusal(self, method: str, headers: Mapping[str, str]) -> str:
        """Return why a request for data or with an order is refused; "" if it is not."""
        if not self.knows_token(headers.get(TOKEN_HEADER, "")):
            return "the token is missing or wrong: open the URL that the command printed"
        if method == "POST" and not _same_origin(headers):
            return "an order must come from the page itself, not from another origin"
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(headers: Mapping[str, str]) -> bool:
    if headers.get("Sec-Fetch-Site", "same-origin") in CROSS_SITE:
        return False
    return headers.get("Origin") == f"http://{headers.get('Host')}"
