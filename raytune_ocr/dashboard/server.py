"""Serve the page of runs, and pass its orders on to them."""

from __future__ import annotations

import asyncio
import copy
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from raytune_ocr.dashboard.assets import LIVE_POLICY, assets, live_page
from raytune_ocr.dashboard.guard import Guard
from raytune_ocr.dashboard.importances import importances
from raytune_ocr.dashboard.reader import reader_errors
from raytune_ocr.dashboard.snapshot import RunSnapshot
from raytune_ocr.errors import ConfigurationError, RaytuneOCRError
from raytune_ocr.results.journal_lines import finite
from raytune_ocr.results.steering.inbox import send_order
from raytune_ocr.results.steering.orders import new_order

ORDER_BYTES = 64 * 1024
RESERVED = ("action", "trial", "who")  # of an order: no arguments
ORDER_SECONDS = 10.0  # until the run must have answered an order
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Dashboard:
    """The server's handlers.

    Args:
        runs: shown on the page.
        guard: decides which requests are answered.
        read_only: whether orders are refused.
    """

    def __init__(self, runs: Sequence[RunSnapshot], guard: Guard, read_only: bool = False) -> None:
        self.runs = runs
        self.guard = guard
        self.read_only = read_only
        self._lock = asyncio.Lock()  # one thread at a time reads the journals

    def application(self) -> web.Application:
        """Return the application with its routes."""
        app = web.Application(middlewares=[self._checked], client_max_size=ORDER_BYTES)
        app.router.add_get("/", self.page)
        app.router.add_get("/assets/{name:.+}", self.asset)
        app.router.add_get("/api/state", self.state)
        app.router.add_get("/api/curves", self.curves)
        app.router.add_get("/api/importance", self.importance)
        app.router.add_get("/api/reader", self.reader)
        app.router.add_get("/api/log", self.log)
        app.router.add_post("/api/order", self.order)
        return app

    @web.middleware
    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self.guard.knows_host(request.headers.get("Host", "")):
            return _refused("the Host header must be an address of this machine")
        is_data = request.path.startswith("/api/")
        if is_data and (why := self.guard.refusal(request.method, request.headers)):
            return _refused(why)
        try:
            response = await handler(request)
        except RaytuneOCRError as error:
            response = web.json_response({"error": str(error)}, status=404)
        except OSError as error:  # a folder that cannot be read now, such as on a lost mount
            response = web.json_response({"error": str(error)}, status=503)
        response.headers.update(HEADERS)
        return response

    # The page

    async def page(self, request: web.Request) -> web.Response:
        """Answer with the page, if the URL has the token."""
        if not self.guard.knows_token(request.query.get("token", "")):
            return _refused("the token is missing or wrong: open the URL that the command printed")
        nonce = secrets.token_urlsafe(16)
        policy = {"Content-Security-Policy": LIVE_POLICY.format(nonce=nonce)}
        return web.Response(text=live_page(nonce), content_type="text/html", headers=policy)

    async def asset(self, request: web.Request) -> web.Response:
        """Answer with a file of the page; only those of the package have a name here."""
        kind, content = assets().get(request.match_info["name"], ("", b""))
        if not kind:
            raise web.HTTPNotFound
        return web.Response(body=content, content_type=kind, charset="utf-8")

    # Data

    async def state(self, request: web.Request) -> web.Response:
        """Answer with the runs, and the trials that changed since `since` (a number a run)."""
        since = [
            int(text) for text in request.query.get("since", "").split(",") if text.isdecimal()
        ]
        since += [0] * (len(self.runs) - len(since))

        def read() -> bytes:
            for run in self.runs:
                run.refresh()
            pairs = zip(self.runs, since, strict=False)
            documents = [run.document(known) for run, known in pairs]
            return _json({"runs": documents, "read_only": self.read_only})

        return await self._answer(read)

    async def curves(self, request: web.Request) -> web.Response:
        """Answer with the curves of a metric that changed since a version."""
        run, since = self._run(request), request.query.get("since", "0")
        metric = request.query.get("metric", "")
        known = int(since) if since.isdecimal() else 0
        return await self._answer(lambda: _json(run.curves(metric, known)))

    async def importance(self, request: web.Request) -> web.Response:
        """Answer with the importance of settings."""
        run = self._run(request)
        async with self._lock:
            document = await asyncio.to_thread(run.document)
        found = await asyncio.to_thread(importances, run.source, document)
        return _response(_json(found))

    async def reader(self, request: web.Request) -> web.Response:
        """Answer with the confusion matrix and the worst readings of the best model."""
        run = self._run(request)
        return _response(await asyncio.to_thread(lambda: _json(reader_errors(run.source))))

    async def log(self, request: web.Request) -> web.Response:
        """Answer with the error log of a trial."""
        run, name = self._run(request), request.query.get("trial", "")
        return await self._answer(lambda: _json({"log": run.log(name)}))

    # Orders

    async def order(self, request: web.Request) -> web.Response:
        """Send an order to a run, and answer with what it said."""
        if self.read_only:
            return _refused("this page is read-only")
        if request.content_type != "application/json":
            return _refused("an order must be JSON")
        run = self._run(request)
        try:
            order = await request.json()
        except (ValueError, RecursionError):  # no JSON, or JSON too deep
            order = None
        if not isinstance(order, dict):
            return web.json_response({"accepted": False, "reason": "must be a mapping"}, status=400)
        accepted, reason = await asyncio.to_thread(_sent, run, order)
        return web.json_response({"accepted": accepted, "reason": reason})

    def _run(self, request: web.Request) -> RunSnapshot:
        number = request.query.get("run", "0")
        if not number.isdecimal() or int(number) >= len(self.runs):
            raise web.HTTPNotFound
        return self.runs[int(number)]

    async def _answer(self, read: Callable[[], bytes]) -> web.Response:
        async with self._lock:
            return _response(await asyncio.to_thread(read))


def _sent(run: RunSnapshot, content: Mapping[str, Any]) -> tuple[bool, str]:
    """Send an order to a run; return whether it was accepted, and why not."""
    try:
        arguments = content.get("arguments", {})
        if not isinstance(arguments, dict) or set(RESERVED) & set(arguments):
            raise ConfigurationError("order: arguments: must be a mapping")
        if isinstance(changes := arguments.get("set"), dict):
            trial = run.replay.trials.get(str(content.get("trial")))
            arguments = {**arguments, "set": _nested(changes, trial.config if trial else {})}
        order = new_order(str(content.get("action")), content.get("trial"), **arguments)
        answer = send_order(run.folder, order, ORDER_SECONDS)
    except (RaytuneOCRError, OSError) as error:
        return False, str(error)
    return answer.accepted, answer.reason


def _nested(changes: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted names as mappings with what a trial's config has beside them.

    `parameters` of a user's own training stay dotted: the order's reader takes them so.
    """
    nested: dict[str, Any] = {}
    for name, value in changes.items():
        first, _, rest = name.partition(".")
        if not rest or first == "parameters":
            nested[name] = value
            continue
        place = nested.setdefault(first, copy.deepcopy(config.get(first)) or {})
        *parts, last = rest.split(".")
        for part in parts:
            place = place.setdefault(part, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise ConfigurationError(f"order: set: {name}: {first} has no such part")
        place[last] = value
    return nested


def _json(value: Any) -> bytes:
    """Return JSON; NaN and infinities as null, looked for only where there is one."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return json.dumps(finite(value), ensure_ascii=False, allow_nan=False).encode()


def _response(content: bytes) -> web.Response:
    return web.Response(body=content, content_type="application/json")


def _refused(why: str) -> web.Response:
    return web.json_response({"error": why}, status=403, headers=HEADERS)
