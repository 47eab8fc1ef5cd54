"""The share of the event loop that large bodies may take.

Forty clients who send as fast as they can keep the event loop busy all the time. The threads that
code pictures then wait some milliseconds whenever they need the interpreter's lock, which makes
seconds for a small picture. So bodies are read on, one after the other, only while the loop rests
for half of the time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

from uvicorn.protocols.http.flow_control import FlowControl

_SHARE = 0.5  # half of 300 MB/s, which one core reads, is more than pictures are coded from
_MOST_SAVED_SECONDS = 0.1  # of the loop: an idle server reads some 30 MB at once
_MOST_OWED_SECONDS = 0.01  # however much else the loop has to do, bodies go on
_TURN_SECONDS = 0.001  # between two turns, each of what a socket has: 256 KiB at most


class Pace:
    """Decides when a connection that has brought much may be read again.

    Belongs to one event loop: it measures the processor time of that thread.

    Args:
        share: of the loop's time up to which bodies are read on.
    """

    def __init__(self, share: float = _SHARE) -> None:
        self._share = share
        self._waiting: deque[PacedFlow] = deque()
        self._saved = _MOST_SAVED_SECONDS  # of processor time; negative when it is owed
        self._passed = time.monotonic()
        self._used = time.thread_time()

    def await_turn(self, flow: PacedFlow) -> None:
        """Read on now if the loop has time, otherwise in turn."""
        if not self._waiting and self.balance() > 0:
            flow.read_on()
            return
        self._waiting.append(flow)
        if len(self._waiting) == 1:
            self._set_timer()

    def _give_turn(self) -> None:
        if self.balance() > 0:
            self._waiting.popleft().read_on()
        if self._waiting:
            self._set_timer()

    def _set_timer(self) -> None:
        wait = max(_TURN_SECONDS, -self._saved / self._share)
        asyncio.get_running_loop().call_later(wait, self._give_turn)

    def balance(self) -> float:
        """Compute the processor time that bodies have left, in seconds; below 0 they owe it."""
        passed, used = time.monotonic(), time.thread_time()
        self._saved += self._share * (passed - self._passed) - (used - self._used)
        self._saved = min(max(self._saved, -_MOST_OWED_SECONDS), _MOST_SAVED_SECONDS)
        self._passed, self._used = passed, used
        return self._saved


class PacedFlow(FlowControl):
    """uvicorn's flow control of one connection, which reads on when its turn has come.

    Args:
        transport: of the connection.
        pace: what all connections of the loop have in common.
    """

    def __init__(self, transport: asyncio.Transport, pace: Pace) -> None:
        super().__init__(transport)
        self._pace = pace
        self._in_turn = False

    def resume_reading(self) -> None:
        """Read on, now or soon."""
        if self.read_paused and not self._in_turn:
            self._in_turn = True
            self._pace.await_turn(self)

    def read_on(self) -> None:
        """Read on now; `Pace` calls it."""
        self._in_turn = False
        if not self._transport.is_closing():
            super().resume_reading()
