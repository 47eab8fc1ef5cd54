"""The fill level of a local store and its quota.

The level is counted in the background at the start, updated with every write, and checked before
each.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from .disk import Disk, room_of
from .errors import StoreFullError

_log = logging.getLogger(__name__)
_MIN_SWEEP_INTERVAL_SECONDS = 60.0
# Sweeping takes at most a fiftieth of the time: a store of millions does not sweep all day.
_MIN_SWEEP_INTERVALS_PER_SWEEP = 50


@dataclass(slots=True)
class Reservation:
    """Room for one write; given back unless it was `used`."""

    used: bool = False


class Quota:
    """The bytes and streams in a local store, as far as this process knows.

    Other processes' writes show at the next sweep. The first count takes about ten seconds for a
    million streams; until then only what this process wrote counts. Later the count errs on the
    side of too much: a stream written while a sweep counts may be counted twice until the next one.
    """

    def __init__(self, disk: Disk) -> None:
        self.bytes = 0
        self.streams = 0
        self._max_bytes = disk.max_bytes
        self._disk = disk
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-sweep")
        self._upkeep: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._waiting: list[int] = []  # bytes of each write that waits for a sweep
        self._pending = 0  # bytes reserved and not settled
        self._unswept = 0  # bytes that the sweep under way may not see
        self._max_room = math.inf  # the largest write that a sweep could make room for before ...
        self._room_at = 0.0  # ... this time of the monotonic clock, which nobody sets back

    @property
    def max_bytes(self) -> float:
        """The quota in bytes; infinite when there is none."""
        return float("inf") if self._max_bytes is None else self._max_bytes

    def start(self) -> None:
        """Begin to count and to sweep, in the background."""
        self._upkeep = asyncio.create_task(self._keep_up())

    async def stop(self) -> None:
        """End the sweeps."""
        self._disk.stop()
        for task in (self._upkeep, self._sweeping):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._thread.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[Reservation]:
        """Reserve room for one write of so many bytes.

        Raises:
            StoreFullError: evicting all that is old enough does not make room.
        """
        size = room_of(size)
        await self._make_room(size)
        reservation = Reservation()
        self.bytes += size
        self._pending += size
        self._unswept += size
        try:
            yield reservation
        finally:
            self._pending -= size
            if reservation.used:
                self.streams += 1
            else:
                self.bytes -= size
                self._unswept -= size

    def freed(self, size: int) -> None:
        """Take note that a stream which took so much room, in bytes, was deleted."""
        self.bytes = max(0, self.bytes - size)
        self.streams = max(0, self.streams - 1)
        self._room_at = 0.0

    async def _make_room(self, size: int) -> None:
        if self._max_bytes is None:
            return
        if size > self._max_bytes:
            text = f"the stream has {size} bytes, more than the stream store's {self._max_bytes}"
            raise StoreFullError(text=text)
        self._waiting.append(size)
        try:
            # More than once where others take the room that a sweep made, or the sweep that was
            # under way had begun before this write waited.
            while self.bytes + size > self._max_bytes:
                seconds = self._room_at - time.monotonic()
                if size > self._max_room and seconds > 0:  # a sweep would be in vain
                    raise StoreFullError(retry_after=max(1.0, seconds))
                await self._sweep()
        finally:
            self._waiting.remove(size)

    async def _sweep(self) -> None:
        """Wait for the sweep under way, or begin one. Cancelling a waiting task does not end it."""
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep_once())
        await asyncio.shield(self._sweeping)

    async def _sweep_once(self) -> None:
        self._unswept = self._pending
        usage = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._disk.sweep, self._waiting.copy(), self._pending
        )
        self.bytes = usage.bytes + self._unswept
        self.streams = usage.streams
        self._max_room = usage.max_room
        self._room_at = time.monotonic() + usage.room_in

    async def _keep_up(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                await self._sweep()
            except OSError:
                _log.exception("the store could not be swept")
            took = time.monotonic() - begun
            await asyncio.sleep(max(_MIN_SWEEP_INTERVAL_SECONDS, _MIN_SWEEP_INTERVALS_PER_SWEEP * took))
