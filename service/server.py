"""The server process: uvicorn with a drain, and with limits on what its connections may cost."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import resource
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from types import FrameType

import uvicorn
from fastapi import FastAPI

from .drain import Drain, Phase
from .http.protocol import Connections, LimitedProtocol
from .settings import Settings

_log = logging.getLogger(__name__)
# Longer than the 60 s of common load balancers: were the server to close an idle connection first,
# a request could already be on its way there.
_KEEP_ALIVE_SECONDS = 75
_MAX_DESCRIPTORS = 65_536  # more than a process that serves pictures has a use for
_MAX_CONNECTIONS = 4_000
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
        maximum = settings.max_connections or _connections(_raise_descriptors())
        shared = Connections(maximum, settings.write_timeout_seconds, app.state.metrics)
        config = uvicorn.Config(
            app,
            http=partial(LimitedProtocol, connections=shared),  # type: ignore[arg-type]  # called alike
            ws="none",
            lifespan="off",  # see `startup`
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
        )
        super().__init__(config)
        self._app = app
        self._running = AsyncExitStack()
        self._drain: Drain = app.state.drain
        self._drain_seconds = settings.drain_seconds
        self._finishing_seconds = math.ceil(settings.request_timeout_seconds)  # no request takes longer
        self._grace_seconds = settings.grace_seconds or (
            settings.drain_seconds + self._finishing_seconds + 2 * _CLOSING_SECONDS
        )
        self._draining_since = 0.0
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, then listen.

        uvicorn by itself would log the traceback of what is wrong with them, and leave.

        Raises:
            CodecError, OSError: they are damaged, or the store is.
        """
        await self._running.enter_async_context(self._app.router.lifespan_context(self._app))
        await super().startup(sockets)
        if not self.should_exit:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections, then the app."""
        await super().shutdown(sockets)
        await self._running.aclose()

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


def _raise_descriptors() -> int:
    """Raise the soft limit on open descriptors to the hard one, and return it.

    Common soft limits, 256 and 1,024, are for programs that use select(). A connection takes one.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < highest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
        return highest
    return highest if soft == resource.RLIM_INFINITY else soft


def _connections(descriptors: int) -> int:
    """Return how many connections leave a quarter of the descriptors for files and buckets."""
    return max(1, min(_MAX_CONNECTIONS, descriptors * 3 // 4))
