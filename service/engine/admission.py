"""Admission: how much work may be inside at a time.

Small pictures, large ones and collections have room each of their own, so that none fills that of
others, and the same again for effort, which no request without effort waits for. Room is counted in
what requests cost (`costs`) and not in requests.

All of it belongs to one event loop, so that it needs no locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .costs import LARGE_PIXELS, Cost, Size
from .errors import OverloadedError, TooCostlyError

_MIN_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 60.0  # an estimate of the device's speed is good for no longer wait


class _Room:
    """Room for work; a single request that needs more has it when it is alone."""

    def __init__(self, limit: int) -> None:
        self.taken = 0.0
        self._limit = limit
        self._requests = 0

    def has(self, amount: float) -> bool:
        """Say whether so much more work may enter; there is always room for none."""
        return not amount or not self._requests or self.taken + amount <= self._limit

    @contextmanager
    def held(self, amount: float) -> Iterator[None]:
        """Hold room for so much work."""
        inside = 1 if amount else 0
        self.taken += amount
        self._requests += inside
        try:
            yield
        finally:
            self.taken -= amount
            self._requests -= inside
            if not self._requests:
                self.taken = 0.0  # whatever the sums of floats left


class Admission:
    """Room for requests.

    Args:
        max_requests: inside at a time.
        max_pixels: that requests of one size may cost together; a single one that costs more enters
            when it is alone.
        max_seconds: that a request may take.
        seconds_per_pixel: gives what the device needs at the moment; 0 when nothing is known.
        best_seconds_per_pixel: gives what it needs at its best.

    Attributes:
        requests: inside.
        pixels: of their pictures.
    """

    def __init__(
        self,
        *,
        max_requests: int,
        max_pixels: int,
        max_seconds: float,
        seconds_per_pixel: Callable[[], float],
        best_seconds_per_pixel: Callable[[], float],
    ) -> None:
        self.requests = 0
        self.pixels = 0
        self._max_requests = max_requests
        self._max_seconds = max_seconds
        self._seconds_per_pixel = seconds_per_pixel
        self._best_seconds_per_pixel = best_seconds_per_pixel
        self._work = {size: _Room(max_pixels) for size in Size}
        self._effort = {size: _Room(max_pixels) for size in Size}

    @contextmanager
    def admit(self, cost: Cost) -> Iterator[None]:
        """Hold room for a request while the body of the `with` runs.

        Raises:
            TooCostlyError: the device would not be done in time even at its best.
            OverloadedError: there is no room.
        """
        seconds = cost.work * self._best_seconds_per_pixel()
        if seconds > self._max_seconds:
            raise TooCostlyError(
                f"this would take about {seconds:.0f} s here; a request has {self._max_seconds:.0f} s"
            )
        self.check()
        work, effort = self._work[cost.size], self._effort[cost.size]
        if not work.has(cost.work):
            raise self._overloaded(f"too much work of this size ({cost.size.value}) is waiting", work)
        if not effort.has(cost.effort):
            raise self._overloaded("too many requests with effort are waiting already", effort)
        with work.held(cost.work), effort.held(cost.effort):
            self.requests += 1
            self.pixels += cost.pixels
            try:
                yield
            finally:
                self.requests -= 1
                self.pixels -= cost.pixels

    def check(self) -> None:
        """Refuse when no request would enter, of whatever size: nobody needs to wait for its body.

        Raises:
            OverloadedError: there is no room.
        """
        if self.requests >= self._max_requests:
            raise self._overloaded(f"{self.requests} requests are waiting already", *self._work.values())
        least = {Size.SMALL: 1, Size.LARGE: LARGE_PIXELS, Size.COLLECTION: 1}
        if not any(room.has(least[size]) for size, room in self._work.items()):
            raise self._overloaded(f"{self.pixels} pixels are waiting already", *self._work.values())

    def retry_after(self) -> float:
        """Seconds that the device needs for everything inside, within bounds."""
        return self._seconds_for(*self._work.values(), *self._effort.values())

    def _overloaded(self, detail: str, *rooms: _Room) -> OverloadedError:
        return OverloadedError(detail, retry_after=self._seconds_for(*rooms))

    def _seconds_for(self, *rooms: _Room) -> float:
        seconds = self._seconds_per_pixel() * sum(room.taken for room in rooms)
        return min(max(seconds, _MIN_RETRY_SECONDS), _MAX_RETRY_SECONDS)
