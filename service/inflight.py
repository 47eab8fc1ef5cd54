"""Bytes that requests hold in this process: bodies that arrive, answers that are not taken yet.

Both are bounded over all requests together. A limit on each one alone is none: forty bodies of
60 MB are 2.4 GB, and so are forty pictures that nobody reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .engine.errors import OverloadedError

MIN_BYTES_PER_SECOND = 10_000  # a sender that keeps this up is given all the time it needs
_RETRY_SECONDS = 5.0


class Bodies:
    """The request bodies that the process holds, arriving and at work.

    When they are too much, the body that came slowest of late gives way. So whoever sends nothing,
    or hardly anything, keeps no room from others.

    Belongs to one event loop: not safe to use from several threads.

    Args:
        max_bytes: of all bodies together. One body alone always enters.
        seconds: in which a body that is not complete must bring its next
            `seconds * MIN_BYTES_PER_SECOND` bytes.
    """

    def __init__(self, max_bytes: int, seconds: float) -> None:
        self.bytes = 0
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._arriving: set[Arrival] = set()

    @contextmanager
    def arrival(self) -> Iterator[Arrival]:
        """Hold room for a body while the `with` runs; it grows as the body arrives."""
        arrival = Arrival(self, self._seconds)
        self._arriving.add(arrival)
        try:
            yield arrival
        finally:
            self._arriving.discard(arrival)
            self.release(arrival)

    def settle(self, arrival: Arrival) -> None:
        """Note that a body is complete: it no longer gives way."""
        self._arriving.discard(arrival)

    def release(self, arrival: Arrival) -> None:
        """Give back the room of a body."""
        self.bytes -= arrival.bytes
        arrival.bytes = 0

    def make_room(self, arrival: Arrival) -> None:
        """Let slower bodies give way to this one.

        Raises:
            OverloadedError: this is the slowest itself.
        """
        while self.bytes > self._max_bytes and self.bytes > arrival.bytes:
            slowest = min(self._arriving, key=lambda other: other.since, default=arrival)
            if slowest is arrival:
                raise self.overloaded()
            self._arriving.discard(slowest)
            self.release(slowest)
            slowest.give_way()

    def overloaded(self) -> OverloadedError:
        """Build the answer to a body that has to give way."""
        return OverloadedError(
            f"the bodies of all requests have over {self._max_bytes} bytes, and this one came slowest",
            retry_after=_RETRY_SECONDS,
        )


class Arrival:
    """One body on its way. It must bring a share of its bytes within each of its periods.

    Attributes:
        bytes: charged so far.
        since: the beginning of its present period, on `time.monotonic`'s clock.
    """

    def __init__(self, bodies: Bodies, seconds: float) -> None:
        self.bytes = 0
        self.since = time.monotonic()
        self._bodies = bodies
        self._seconds = seconds
        self._recent = 0  # bytes of the present period
        self._gave_way = False
        self._waiting: asyncio.Timeout | None = None

    @contextmanager
    def waiting(self) -> Iterator[asyncio.Timeout]:
        """Give the timeout under which to wait for the body's next bytes."""
        remaining = self.since + self._seconds - time.monotonic()
        self._waiting = asyncio.timeout(0 if self._gave_way else max(0.0, remaining))
        try:
            yield self._waiting
        finally:
            self._waiting = None

    def grow(self, size: int) -> None:
        """Charge bytes that came. Raises `OverloadedError` when there is no room for them."""
        self.check()
        self.bytes += size
        self._bodies.bytes += size
        self._bodies.make_room(self)
        self._recent += size
        if self._recent >= self._seconds * MIN_BYTES_PER_SECOND:
            self._recent = 0
            self.since = time.monotonic()

    def check(self) -> None:
        """Raise `OverloadedError` when the body has given way to others."""
        if self._gave_way:
            raise self._bodies.overloaded()

    def complete(self) -> None:
        """Note that all of it is here."""
        self.check()
        self._bodies.settle(self)

    def give_way(self) -> None:
        """End the wait for more of it."""
        self._gave_way = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())


class Answers:
    """The bytes of answers that are made, and that clients have not taken yet.

    Args:
        max_bytes: beyond them nothing is begun whose answer may be large. What is at work already
            is finished, so that they may be more by what admission lets in.
    """

    def __init__(self, max_bytes: int) -> None:
        self.bytes = 0
        self._max_bytes = max_bytes

    def check(self) -> None:
        """Raise `OverloadedError` when clients are to take what there is first."""
        if self.bytes >= self._max_bytes:
            raise OverloadedError(
                f"{self.bytes} bytes of answers wait for their clients to take them",
                retry_after=_RETRY_SECONDS,
            )

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Count so many bytes while the body of the `with` runs."""
        self.bytes += size
        try:
            yield
        finally:
            self.bytes -= size
