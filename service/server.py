"""The process: uvicorn, with a listener that closes last, limits on what comes before a request, and one formatter for all logs."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
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
_KEEP_ALIVE_SECONDS = 75  # longer than the 60 s of common load balancers: whoever closes first must not be the one who is sent requests
_HEADER_SECONDS = 20.0
_HEADER_BYTES = 64 * 1024
_CLOSING_SECONDS = 5  # for connections that are open when nothing is in flight any more


class Server(uvicorn.Server):
    """uvicorn stops listening on the first signal; this one drains first, see `service.drain`. A second signal ends the process at once."""

    def __init__(self, app: FastAPI, settings: Settings, on_ready: Callable[[], None]) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its informative lines repeat ours
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
        self._patience = math.ceil(settings.request_timeout_seconds)  # what was accepted may take no longer
        self._leaving_since = 0.0
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, then listen."""
        await super().startup(sockets)
        if not self.should_exit:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The signal handler. uvicorn's would have the process end by the signal, not with status 0."""
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True
        self._drain.phase = Phase.DRAINING
        self._leaving_since = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: whether to close the listener and leave."""
        if not await super().on_tick(counter):
            return False
        waited = time.monotonic() - self._leaving_since
        if waited < self._drain_seconds:
            return False
        if self._drain.phase < Phase.REFUSING:
            _log.info("finishing what was accepted", extra={"in_flight": self._drain.in_flight})
            self._drain.phase = Phase.REFUSING
        return self._drain.in_flight == 0 or waited > self._drain_seconds + self._patience


class HeaderLimits(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, for which a client may take its time over headers, or send them without end. This one closes the connection."""

    _deadline: asyncio.TimerHandle | None = None
    _bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio.Protocol."""
        super().connection_made(transport)  # type: ignore[arg-type]  # what uvicorn declares is narrower than asyncio's
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        """asyncio.Protocol."""
        if self._deadline is None and self.timeout_keep_alive_task is not None:
            self._await_headers()  # the first bytes of the next request on a connection that was kept alive
        super().data_received(data)
        self._bytes += len(data)
        if self._deadline is not None and self._bytes > _HEADER_BYTES:
            self._refuse(431, f"the headers have more than {_HEADER_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """httptools."""
        self._got_headers()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio.Protocol."""
        self._got_headers()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed is a problem too, and not uvicorn's plain text."""
        self._refuse(400, msg)

    def _refuse(self, status: int, detail: str) -> None:
        phrase = HTTPStatus(status).phrase
        body = Problem(type="about:blank", title=phrase, status=status, detail=detail).model_dump_json(exclude_none=True)
        head = f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.transport.write((head + body).encode())
        self.transport.close()

    def _await_headers(self) -> None:
        self._bytes = 0
        self._deadline = self.loop.call_later(_HEADER_SECONDS, self.transport.close)

    def _got_headers(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound but does not listen: a taken port is told before the models load, and nobody waits in its queue meanwhile."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener
