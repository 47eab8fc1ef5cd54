"""The server process: uvicorn with a drain, and with limits on what its connections may cost."""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import os
import resource
import shutil
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from .acceptor import Acceptor
from .drain import Drain, Phase
from .http.protocol import Connections, LimitedProtocol
from .settings import Settings
from .workers import Worker

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
        worker: this process, where it is one of several. Then orders come from its supervisor, not
            by signals.
    """

    def __init__(
        self, app: FastAPI, settings: Settings, on_ready: Callable[[], None], worker: Worker | None = None
    ) -> None:
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
        self._grace_seconds = grace_seconds(settings)
        self._draining_since = 0.0
        self._on_ready = on_ready
        self._worker = worker

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, then listen.

        uvicorn by itself would log the traceback of what is wrong with them, and leave.

        Raises:
            CodecError, OSError: they are damaged, or the store is.
        """
        if self._worker is not None:
            asyncio.get_running_loop().add_reader(self._worker.supervisor, self._ordered, self._worker)
        await self._running.enter_async_context(self._app.router.lifespan_context(self._app))
        await super().startup(sockets if self._worker is None else [])
        if self._worker is not None and sockets and not self.should_exit:
            self.servers += [self._acceptor(self._worker, listener) for listener in sockets]
        if not self.should_exit:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the connections, then the app."""
        await super().shutdown(sockets)
        await self._running.aclose()

    def _acceptor(self, worker: Worker, listener: socket.socket) -> Any:
        """Make what stands in for asyncio's server, on a listener that others accept from too."""
        return Acceptor(
            worker,
            listener,
            lambda: self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn calls it
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            ),
            connections=lambda: len(self.server_state.connections),
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain, or end the process when it drains already.

        After uvicorn's own handler the process would end by the signal, not with status 0.
        """
        if self._worker is not None:
            return  # its supervisor has the signal too, and says what to do
        if self.should_exit:
            os._exit(128 + sig)
        self._leave()

    def _ordered(self, worker: Worker) -> None:
        """Leave, as the supervisor says or because it has gone."""
        asyncio.get_running_loop().remove_reader(worker.supervisor)
        if not worker.supervisor.recv(1):
            _log.critical("the supervisor has gone; finishing what was accepted")
            shutil.rmtree(worker.sockets, ignore_errors=True)  # which it did not come to
        if not self.should_exit:
            self._leave()

    def _leave(self) -> None:
        """Begin to drain, and see to it that the process ends in time."""
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
        leaves = await super().on_tick(counter)
        if self._worker is not None:
            self._worker.board.set_connections(self._worker.index, len(self.server_state.connections))
            if not leaves and not self._app.state.runtime.engine.alive:
                self._give_up()
        if not leaves:
            return False
        waited = time.monotonic() - self._draining_since
        if waited < self._drain_seconds:
            return False
        if self._drain.phase < Phase.REFUSING:
            _log.info("finishing what was accepted", extra={"in_flight": self._drain.in_flight})
            self._drain.phase = Phase.REFUSING
        return self._drain.in_flight == 0 or waited > self._drain_seconds + self._finishing_seconds

    def _give_up(self) -> None:
        """Leave without a device, so that the supervisor replaces this worker; others serve on."""
        _log.critical("the device thread has ended or is stuck; this worker leaves")
        for server in self.servers:
            server.close()
        self._leave()
        self._drain.phase = Phase.REFUSING


def grace_seconds(settings: Settings) -> float:
    """Compute the seconds after SIGTERM by which the process has ended."""
    return settings.grace_seconds or (
        settings.drain_seconds + math.ceil(settings.request_timeout_seconds) + 2 * _CLOSING_SECONDS
    )


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
