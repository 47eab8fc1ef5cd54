"""Requests that somebody watches: which stage each is in, and how much of it is done.

A client that wants to know names its request by a token, which nobody can guess, and asks for it
while the request runs. The stages tell the request that they run for, which a context variable
knows: nothing has to be passed down, and a request that nobody watches costs nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

from .timings import TimingName

StageName = TimingName | Literal["receive"]

_TOKEN = re.compile(r"[\w-]{32,128}", re.ASCII)  # 32 hex digits are as good as a key


class Progress(NamedTuple):
    """Progress of a request.

    Attributes:
        stage: where it is.
        share: of all its work, or of what takes longest, 0 to 1; None where nobody can say.
        ahead: jobs that wait for the device before its own; None unless it waits.
        seconds: since its first byte came.
    """

    stage: StageName
    share: float | None
    ahead: int | None
    seconds: float


class Watched:
    """One request that somebody watches."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._stage: StageName = "receive"
        self._received: Callable[[], float] | None = None
        self._share: Callable[[], float] | None = None
        self._ahead: Callable[[], int | None] | None = None

    def receive(self, share: Callable[[], float]) -> None:
        """Take note that the body comes; `share` says how much of it has."""
        self._received = share

    def enter(self, stage: StageName, ahead: Callable[[], int | None] | None = None) -> None:
        """Take note that a stage begins; `ahead` counts who waits before it, None when nobody."""
        self._stage, self._ahead = stage, ahead

    @contextmanager
    def shared(self, share: Callable[[], float]) -> Iterator[None]:
        """Ask `share` how far the body of the `with` is, unless it is part of a larger whole."""
        if self._share is not None:
            yield
            return
        self._share = share
        try:
            yield
        finally:
            self._share = None

    def progress(self) -> Progress:
        """Look where it is."""
        ahead = self._ahead and self._ahead()
        stage: StageName = "queue" if ahead is not None else self._stage
        share = self._share or (self._received if stage == "receive" else None)
        done = None if share is None else min(1.0, share())
        return Progress(stage, done, ahead, time.monotonic() - self._begun)


_current: ContextVar[Watched | None] = ContextVar("watched", default=None)


def enter(stage: StageName | None, ahead: Callable[[], int | None] | None = None) -> None:
    """Tell whoever watches the current request that a stage begins; None has no name."""
    if stage is not None and (watched := _current.get()) is not None:
        watched.enter(stage, ahead)


@contextmanager
def shared(share: Callable[[], float]) -> Iterator[None]:
    """Tell whoever watches the current request how far the body of the `with` is."""
    if (watched := _current.get()) is None:
        yield
        return
    with watched.shared(share):
        yield


class Watches:
    """The requests that are watched now, by their tokens. For one event loop."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}

    @contextmanager
    def watching(self, token: str) -> Iterator[Watched]:
        """Let the body of the `with`, which is a request's, be watched.

        A token that could be guessed, or is in use, is passed over.
        """
        watched = Watched()
        if not _TOKEN.fullmatch(token) or token in self._watched:
            yield watched
            return
        self._watched[token] = watched
        before = _current.set(watched)
        try:
            yield watched
        finally:
            _current.reset(before)
            del self._watched[token]

    def progress(self, token: str) -> Progress | None:
        """Look where a request is; None when no request of this token runs here."""
        watched = self._watched.get(token)
        return None if watched is None else watched.progress()

    async def find(self, token: str) -> Progress | None:
        """Look where a request is, for another process."""
        return self.progress(token)
