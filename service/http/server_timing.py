"""Where one request's time went, for its `Server-Timing` header."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..engine.work import Timings


class ServerTiming:
    """Durations by stage, in the order in which the stages were met."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body of the `with`, waiting for a thread included."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = time.perf_counter() - begun

    def engine(self, timings: Timings) -> None:
        """Take over what the engine measured."""
        self._seconds |= {"queue": timings.queue, "device": timings.device, "entropy": timings.entropy}
        if timings.avif:
            self._seconds["avif"] = timings.avif

    def header(self) -> str:
        """The header's value; durations in milliseconds, as the header wants them."""
        return ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in self._seconds.items())
