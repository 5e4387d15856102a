"""Run the page's server in a thread, beside a run or alone."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from types import TracebackType

from raytune_ocr.dashboard.guard import Guard
from raytune_ocr.dashboard.snapshot import RunSnapshot
from raytune_ocr.errors import ConfigurationError

GIVE_UP_SECONDS = 5.0  # for requests under way as the server ends


class Serving:
    """A context manager that serves the page of runs.

    Args:
        runs: shown on the page.
        host: address to serve on.
        port: 0, or one in use: a free port.
        read_only: whether orders are refused.

    Attributes:
        url: of the page, with the token.

    Raises:
        ConfigurationError: the address is not one of this machine.
    """

    def __init__(
        self, runs: Sequence[RunSnapshot], host: str, port: int = 0, read_only: bool = False
    ) -> None:
        self.guard = Guard([host, socket.gethostname()])
        self._runs, self._read_only = runs, read_only
        self._socket = _listen(host, port)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}/?token={self.guard.token}"
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)

    def __enter__(self) -> Serving:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(GIVE_UP_SECONDS)
        self._socket.close()

    def _run(self) -> None:
        from aiohttp import web

        from raytune_ocr.dashboard.server import Dashboard

        asyncio.set_event_loop(self._loop)
        app = Dashboard(self._runs, self.guard, self._read_only).application()
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=GIVE_UP_SECONDS)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.SockSite(runner, self._socket).start())
        self._loop.call_soon(self._started.set)
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, on a free port if `port` is in use."""
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    for number in (port, 0):
        opened = socket.socket(kind)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind((host, number))
            opened.listen()
            return opened
        except (OSError, OverflowError) as error:
            opened.close()
            last = error
    raise ConfigurationError(
        f"--host: must be an address of this machine, got {host}: {last}"
    ) from None
