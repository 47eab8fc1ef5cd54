"""The `Server-Timing` header: where one request's time went."""

from __future__ import annotations

from ..engine.timings import Timings


def server_timing(timings: Timings) -> str:
    """Format the header's value, in milliseconds, as the header wants them."""
    return ", ".join(f"{name};dur={1000 * seconds:.1f}" for name, seconds in timings.seconds.items())
