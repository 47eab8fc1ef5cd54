"""The deadline of a request, which starts when the last byte of its body has come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from .errors import DeadlineExceededError


@asynccontextmanager
async def deadline(seconds: float, retry_after: Callable[[], float]) -> AsyncIterator[float]:
    """Give the body of the `async with` so many seconds.

    Args:
        seconds: from now.
        retry_after: gives the seconds after which to come back, to tell whoever is late.

    Yields:
        The deadline, on `time.monotonic`'s clock.

    Raises:
        DeadlineExceededError: the body took longer.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            yield time.monotonic() + seconds
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlineExceededError("the request took too long", retry_after=retry_after()) from error
