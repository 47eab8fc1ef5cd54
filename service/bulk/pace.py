"""How fast work goes, and when it will end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(slots=True)
class Pace:
    """The pace of pictures, from the first that was done on: that the pool starts is no work.

    Args:
        total: pictures there are to do.
        clock: of seconds.

    Attributes:
        done: pictures.
    """

    total: int
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    _first: int = 0
    _begun: float | None = None

    def advance(self, count: int) -> None:
        """Count pictures that are done."""
        self.done += count
        if self._begun is None:
            self._first, self._begun = self.done, self.clock()

    @property
    def per_second(self) -> float | None:
        """Pictures in a second; None until there is something to tell it from."""
        if self._begun is None or self.done == self._first:
            return None
        return (self.done - self._first) / max(self.clock() - self._begun, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all are done; None when that is unknown."""
        rate = self.per_second
        return (self.total - self.done) / rate if rate else None

    def end(self, now: datetime) -> datetime | None:
        """When all will be done; None when that is unknown."""
        left = self.seconds_left
        return None if left is None else now + timedelta(seconds=left)


def spoken(seconds: float) -> str:
    """Say a time as people do, in two units at most."""
    seconds = round(seconds)
    for unit, size, smaller, smaller_size in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60)):
        if seconds >= size:
            rest = seconds % size // smaller_size
            return f"{seconds // size} {unit} {rest} {smaller}" if rest else f"{seconds // size} {unit}"
    return f"{seconds // 60} min" if seconds >= 120 else f"{seconds} s"
