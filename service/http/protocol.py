"""HTTP/1.1 as the server speaks it: uvicorn's protocol, with limits on what one peer may cost.

uvicorn by itself waits for headers for ever and reads them without end, as it does with trailers,
with the framing of chunks and with the headers of requests that wait behind another. It waits for
ever for a client to read its answer, and has no limit on connections short of the descriptors.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import sys
import termios
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ..metrics import Metrics
from .pace import Pace, PacedFlow
from .problems import MEDIA_TYPE, Problem

_MAX_HEADER_SECONDS = 20.0  # counted from the connection, or from a later request's first bytes
# Of everything that is no body, from one moment in which no request waits to the next. Clients send
# chunks of some kB, of which the framing is a hundredth; an eighth leaves room for small ones.
_MAX_HEADER_BYTES = 64 * 1024
_FRAMING_SHARE = 8
_MAX_HEADERS = 200
_MAX_URL_BYTES = 8 * 1024
_MAX_PIPELINED = 32  # requests that wait behind the one that is answered
_SLICE = 16 * 1024  # bytes that are parsed before the limits are looked at
_LINGER_SECONDS = 1.0  # a refused client may go on sending: closing at once would overtake the answer
_MIN_READ_BYTES_PER_SECOND = 1_000  # a client that takes this much is given all the time it needs
_QUIET_SECONDS = 10.0  # between two lines of the log about the same

_log = logging.getLogger(__name__)


class Refusal(Exception):
    """A request that is answered by the protocol itself, and closes its connection."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Connections:
    """State that all connections of one server share.

    Args:
        maximum: of connections at the same time. One more takes the place of the one that has been
            idle longest; when none is idle, it is refused.
        write_seconds: in which a client must take some of an answer that waits for it.
        metrics: where refusals are counted.
    """

    def __init__(self, maximum: int, write_seconds: float, metrics: Metrics) -> None:
        self.maximum = maximum
        self.write_seconds = write_seconds
        self.pace = Pace()
        self._metrics = metrics
        self._told: dict[str, float] = {}

    def refused(self, status: int, detail: str) -> None:
        """Count a refusal and log it; `detail` is one of a few texts."""
        self._metrics.refused_by_protocol(status)
        self.tell(f"refused by the protocol: {detail}", {"status": status})

    def tell(self, message: str, facts: Mapping[str, object]) -> None:
        """Log a warning, unless the same was logged just now: peers must not fill the log."""
        now = time.monotonic()
        if now - self._told.get(message, -_QUIET_SECONDS) >= _QUIET_SECONDS:
            self._told[message] = now
            _log.warning(message, extra=facts)


class LimitedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        arguments: uvicorn's.
        connections: what it has in common with others.
        options: uvicorn's.
    """

    def __init__(self, *arguments: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._shared = connections
        self._deadline: asyncio.TimerHandle | None = None  # of headers, or of a refused connection
        self._reading: asyncio.TimerHandle | None = None  # runs while the client has to take an answer
        self._left = 0  # bytes that it had not taken when that began
        self._idle_since = 0.0
        self._in_body = False
        self._deaf = False  # what comes is no longer looked at
        self._framing = 0  # bytes received that are no body, and
        self._body = 0  # those that are, since no request waited

    @property
    def idle(self) -> bool:
        """True when no request is at work and no answer on its way."""
        resting = self.cycle is None or self.cycle.response_complete
        return resting and not self._deaf and not self.transport.is_closing() and not self._unwritten

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, in the place of another when there are too many."""
        super().connection_made(transport)  # type: ignore[arg-type]  # uvicorn wants asyncio.Transport
        self.flow = PacedFlow(self.transport, self._shared.pace)
        self._idle_since = self.loop.time()
        self._await_headers()
        if len(self.connections) > self._shared.maximum:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Parse what came, a slice at a time."""
        if self._deaf:
            self._pass_over(len(data))
            return
        if self._deadline is None and self.timeout_keep_alive_task is not None:
            self._await_headers()  # these are the first bytes of a kept-alive connection's next request
        self._unset_keepalive_if_required()
        view = memoryview(data)
        try:
            for start in range(0, len(view), _SLICE):
                if self._deaf or self.transport.is_closing():
                    break
                self._feed(view[start : start + _SLICE])
                if self._framing > _MAX_HEADER_BYTES + self._body // _FRAMING_SHARE:
                    raise Refusal(431, f"headers, trailers and framing have over {_MAX_HEADER_BYTES} bytes")
        except Refusal as refusal:
            self._refuse(refusal)

    def _pass_over(self, size: int) -> None:
        """Read on for a client that is answered nothing more, to learn when it hangs up."""
        self._framing += size
        if self._deadline is None and self._framing > 2 * _MAX_HEADER_BYTES:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._got_headers()
        self._stop_watching()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Watch a client that does not take its answer as fast as it is made."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Stop to watch, unless it is the end of the answer that waits."""
        super().resume_writing()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_watching()

    # What the parser calls; an exception ends the parsing

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._in_body = False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Bound the URL: what is in it is taken apart before any endpoint sees it."""
        super().on_url(url)
        if len(self.url) > _MAX_URL_BYTES:
            raise Refusal(414, f"the URL has more than {_MAX_URL_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers come here too, must not pass for one, and are dropped."""
        if self._in_body:
            return
        if len(self.headers) >= _MAX_HEADERS:
            raise Refusal(431, f"there are more than {_MAX_HEADERS} headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, or let the request wait behind others."""
        if self.parser.should_upgrade():
            return  # the parser takes what follows for another protocol: see `_feed`
        self._in_body = True
        self._got_headers()
        if len(self.pipeline) >= _MAX_PIPELINED:
            raise Refusal(431, f"more than {_MAX_PIPELINED} requests wait for their answers")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request's body."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._body += len(body)
        super().on_body(body)

    # What uvicorn calls

    def on_response_complete(self) -> None:
        """End a request. What it took of the limits is given back once nothing waits behind it."""
        super().on_response_complete()
        self._idle_since = self.loop.time()
        if not self.pipeline:
            self._framing = self._body = 0
        if self._unwritten:
            self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP with a problem, where uvicorn would send plain text."""
        self._refuse(Refusal(400, msg))

    # Limits

    def _feed(self, data: memoryview) -> None:
        body = self._body
        end = self._parse(data)
        self._framing += end - (self._body - body)
        if self.parser.should_upgrade():
            self._ignore_upgrade()
            self._feed(data[end:])

    def _parse(self, data: bytes | memoryview) -> int:
        """Parse bytes up to their end, or to the end of headers that offer another protocol."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return int(upgrade.args[0])
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, Refusal):
                raise error.__context__ from None
            raise Refusal(400, "this is no HTTP request") from None
        return len(data)

    def _ignore_upgrade(self) -> None:
        """Read a request again as if it offered no other protocol (RFC 9110, section 7.8).

        Some clients offer HTTP/2 in every request without TLS, bodies included: Java's is one, and
        curl --http2. The parser would drop their bodies.
        """
        if self.parser.get_method() == b"CONNECT":
            raise Refusal(400, "this is no proxy")
        dropped = (b"upgrade", b"http2-settings", b"connection")
        lines = [b"%s %s HTTP/1.1" % (self.parser.get_method(), self.url)]
        lines += [b"%s: %s" % header for header in self.headers if header[0] not in dropped]
        offers = (value.lower() for name, value in self.headers if name == b"connection")
        if any(b"close" in value for value in offers):
            lines.append(b"connection: close")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._parse(b"\r\n".join(lines) + b"\r\n\r\n")

    def _refuse(self, refusal: Refusal) -> None:
        """Answer and close, where an answer can be given: it must not get in between others."""
        self._deaf = True
        self._shared.refused(refusal.status, str(refusal))
        self._got_headers()
        running = self.cycle if self.cycle is not None and not self.cycle.response_complete else None
        if running is not None and not running.more_body:
            running.keep_alive = False  # all that is whole is answered first, and then the connection ends
            return
        if running is not None and (running.response_started or self.pipeline):
            self.transport.abort()
            return
        self.transport.write(_answer(refusal.status, str(refusal)))
        if running is not None:
            running.disconnected = True  # what the app would answer is dropped
            running.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _make_room(self) -> None:
        others: Iterable[Any] = self.connections
        idle = [other for other in others if other is not self and other.idle]
        if idle:
            facts = {"maximum": self._shared.maximum}
            self._shared.tell("too many connections: one that was idle is closed", facts)
            min(idle, key=lambda other: other._idle_since).transport.close()
        else:
            self._deaf = True
            self._shared.refused(503, "too many connections, none of them idle")
            self.transport.write(_answer(503, "too many connections", "Retry-After: 5"))
            self.transport.close()

    def _await_headers(self) -> None:
        self._deadline = self.loop.call_later(_MAX_HEADER_SECONDS, self.transport.close)

    def _got_headers(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # Answers that nobody reads

    @property
    def _unwritten(self) -> int:
        """Bytes that the kernel has not accepted yet: these take our memory."""
        size: int = self.transport.get_write_buffer_size()
        return size

    def _untaken(self) -> int:
        """Bytes that the client has not acknowledged, where the system tells.

        The kernel accepts more only after much of its buffer is free. On a slow line that takes
        longer than `write_seconds`, though the client reads all the time.
        """
        connection = self.transport.get_extra_info("socket")
        try:
            told = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
            in_kernel = int.from_bytes(told, sys.byteorder)
        except (OSError, AttributeError):
            in_kernel = 0
        return self._unwritten + in_kernel

    def _watch(self) -> None:
        self._stop_watching()
        self._left = self._untaken()
        self._reading = self.loop.call_later(self._shared.write_seconds, self._look)

    def _look(self) -> None:
        self._reading = None
        if not self._unwritten or not (self.flow.write_paused or self.cycle.response_complete):
            return
        taken = self._left - self._untaken()
        if taken >= _MIN_READ_BYTES_PER_SECOND * self._shared.write_seconds:
            self._watch()
            return
        facts = {"seconds": self._shared.write_seconds, "taken": taken, "left": self._left - taken}
        self._shared.tell("an answer is not read: its connection is closed", facts)
        self.transport.abort()

    def _stop_watching(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None


def _answer(status: int, detail: str, *headers: str) -> bytes:
    """Write a problem as a whole HTTP answer that ends its connection."""
    phrase = HTTPStatus(status).phrase
    problem = Problem(type="about:blank", title=phrase, status=status, detail=detail)
    body = problem.model_dump_json(exclude_none=True).encode()
    lines = (
        f"HTTP/1.1 {status} {phrase}",
        f"Content-Type: {MEDIA_TYPE}",
        f"Content-Length: {len(body)}",
        "X-Content-Type-Options: nosniff",
        *headers,
        "Connection: close",
        "",
        "",
    )
    return "\r\n".join(lines).encode() + body
