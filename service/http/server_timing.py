"""The `Server-Timing` header: where one request's time went."""

from __future__ import annotations

from collections.abc import Mapping


def server_timing(seconds: Mapping[str, float]) -> str:
    """Write the header's value from durations by stage; in milliseconds, as the header wants them."""
    return ", ".join(f"{name};dur={1000 * duration:.1f}" for name, duration in seconds.items())
