"""The server process: uvicorn with a drain, and with limits on a request's headers."""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .drain import Drain, Phase
from .http.problems import MEDIA_TYPE, Problem
from .settings import Settings

_log = logging.getLogger(__name__)
# Longer than the 60 s of common load balancers: were the server to close an idle connection first,
# a request could already be on its way there.
_KEEP_ALIVE_SECONDS = 75
_MAX_HEADER_SECONDS = 20.0  # counted from the connection, or from a later request's first bytes
_MAX_HEADER_BYTES = 64 * 1024
_CLOSING_SECONDS = 5  # for connections that are still open when no request is in flight


class Server(uvicorn.Server):
    """uvicorn's server, which drains on the first signal and ends at once on the second.

    uvicorn by itself stops listening on the first signal. The phases are those of `service.drain`.

    Args:
        app: made by `create_app`.
        settings: those of the app.
        on_ready: called when the models are loaded and the server listens.
    """

    def __init__(self, app: FastAPI, settings: Settings, on_ready: Callable[[], None]) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its "info" repeats our lines
        config = uvicorn.Config(
            app,
            http=HeaderLimits,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
        )
        super().__init__(config)
        self._drain: Drain = app.state.drain
        self._drain_seconds = settings.drain_seconds
        self._finishing_seconds = math.ceil(settings.request_timeout_seconds)  # no request takes longer
        self._grace_seconds = settings.grace_seconds or (
            settings.drain_seconds + self._finishing_seconds + 2 * _CLOSING_SECONDS
        )
        self._draining_since = 0.0
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, then listen."""
        await super().startup(sockets)
        if not self.should_exit:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain, or end the process when it drains already.

        After uvicorn's own handler the process would end by the signal, not with status 0.
        """
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True
        self._drain.phase = Phase.DRAINING
        self._draining_since = time.monotonic()
        grace = threading.Timer(self._grace_seconds, self._end)
        grace.daemon = True
        grace.start()

    def _end(self) -> None:
        """End the process, whatever still runs in it: the grace that it was given is over."""
        in_flight = self._drain.in_flight
        _log.warning(
            "ended with work unfinished",
            extra={"in_flight": in_flight, "grace_seconds": self._grace_seconds},
        )
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(1)

    async def on_tick(self, counter: int) -> bool:
        """Move the drain along, ten times a second.

        Returns:
            True once the listener should close and the process end.
        """
        if not await super().on_tick(counter):
            return False
        waited = time.monotonic() - self._draining_since
        if waited < self._drain_seconds:
            return False
        if self._drain.phase < Phase.REFUSING:
            _log.info("finishing what was accepted", extra={"in_flight": self._drain.in_flight})
            self._drain.phase = Phase.REFUSING
        return self._drain.in_flight == 0 or waited > self._drain_seconds + self._finishing_seconds


class HeaderLimits(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with a limit on the time and the bytes that headers may take.

    uvicorn by itself waits for headers forever, and reads them without end. This protocol closes
    the connection.
    """

    _deadline: asyncio.TimerHandle | None = None  # set while headers are awaited
    _bytes = 0  # received since then

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.Protocol."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn wants asyncio.Transport
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        """asyncio.Protocol."""
        if self._deadline is None and self.timeout_keep_alive_task is not None:
            self._await_headers()  # these are the first bytes of a kept-alive connection's next request
        super().data_received(data)
        self._bytes += len(data)
        if self._deadline is not None and self._bytes > _MAX_HEADER_BYTES:
            self._refuse(431, f"the headers have more than {_MAX_HEADER_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """httptools' callback."""
        self._got_headers()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio.Protocol."""
        self._got_headers()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP with a problem, where uvicorn would send plain text."""
        self._refuse(400, msg)

    def _refuse(self, status: int, detail: str) -> None:
        phrase = HTTPStatus(status).phrase
        problem = Problem(type="about:blank", title=phrase, status=status, detail=detail)
        body = problem.model_dump_json(exclude_none=True).encode()
        lines = (
            f"HTTP/1.1 {status} {phrase}",
            f"Content-Type: {MEDIA_TYPE}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            "",
            "",
        )
        self.transport.write("\r\n".join(lines).encode() + body)
        self.transport.close()

    def _await_headers(self) -> None:
        self._bytes = 0
        self._deadline = self.loop.call_later(_MAX_HEADER_SECONDS, self.transport.close)

    def _got_headers(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound and does not listen yet.

    So a taken port shows before the models load, and no client waits in the socket's queue while
    they do.

    Raises:
        OSError: the address is not this machine's, or its port is taken.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener
