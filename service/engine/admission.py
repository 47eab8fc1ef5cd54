"""Admission: how many requests and pixels may be inside at a time.

All of it belongs to one event loop, so that it needs no locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import OverloadedError

_MIN_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 60.0  # an estimate of the device's speed is good for no longer wait


class Admission:
    """Room for requests.

    Args:
        max_requests: inside at a time.
        max_pixels: of all requests inside; a single larger request enters when it is alone. Effort
            has room for as many again, in pixels times what it costs, so that it is never in the
            way of requests without.
        seconds_per_pixel: gives what the device needs at the moment, for telling the refused when
            to come back.
    """

    def __init__(self, *, max_requests: int, max_pixels: int, seconds_per_pixel: Callable[[], float]) -> None:
        self.requests = 0
        self.pixels = 0
        self._effort = 0.0
        self._max_requests = max_requests
        self._max_pixels = max_pixels
        self._seconds_per_pixel = seconds_per_pixel

    @contextmanager
    def admit(self, pixels: int, effort: float = 0.0) -> Iterator[None]:
        """Hold room for a request while the body of the `with` runs.

        Args:
            pixels: of all its pictures.
            effort: what they cost beyond the usual, in pixels.

        Raises:
            OverloadedError: there is no room.
        """
        self.check()
        if self.pixels and self.pixels + pixels > self._max_pixels:
            raise self._overloaded(f"{self.pixels} pixels are waiting already")
        if effort and self._effort and self._effort + effort > self._max_pixels:
            raise self._overloaded("too many requests with effort are waiting already")
        self.requests += 1
        self.pixels += pixels
        self._effort += effort
        try:
            yield
        finally:
            self.requests -= 1
            self.pixels -= pixels
            self._effort -= effort

    def check(self) -> None:
        """Refuse when no request would enter, however small: nobody needs to wait for its body.

        Raises:
            OverloadedError: there is no room.
        """
        if self.requests >= self._max_requests:
            raise self._overloaded(f"{self.requests} requests are waiting already")
        if self.pixels >= self._max_pixels:
            raise self._overloaded(f"{self.pixels} pixels are waiting already")

    def _overloaded(self, detail: str) -> OverloadedError:
        return OverloadedError(detail, retry_after=self.retry_after())

    def retry_after(self) -> float:
        """Seconds that the device needs for everything inside, within bounds."""
        seconds = self._seconds_per_pixel() * (self.pixels + self._effort)
        return min(max(seconds, _MIN_RETRY_SECONDS), _MAX_RETRY_SECONDS)
