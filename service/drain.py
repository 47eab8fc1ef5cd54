"""The phases in which a process leaves: it says so, refuses new work, finishes what it accepted.

    serving
       │  signal
    draining     /readyz answers 503; work is still accepted
       │  after ZIGGURAT_DRAIN_SECONDS
    refusing     new work gets 503 with Retry-After
       │  nothing in flight
      gone

`service.server` changes the phase; the app only reads it. Under another server than ours the phase
stays `SERVING`, and the end of the app's lifespan finishes what was accepted.
"""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """The steps from serving to gone, in order."""

    SERVING = 0
    DRAINING = 1
    REFUSING = 2


class Drain:
    """The phase that one app is in, and the number of its requests in flight.

    Belongs to one event loop: not safe to use from several threads.
    """

    def __init__(self) -> None:
        self.phase = Phase.SERVING
        self.in_flight = 0
