"""Functions that entropy workers run, on a thread or in a process. The parent may end any of them.

Imports neither torch nor the rest of the service: a worker is small and starts in half a second.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from models.bitstream import Bitstream
from models.learned.symbol_codec import SymbolCodec
from models.learned.symbols import Quantised, Symbols
from models.progress import UNINTERRUPTED, Progress
from models.stream import Stream

from . import child, memory
from .errors import AbandonedError

_T = TypeVar("_T")


class Flag(Protocol):
    """Common interface of `threading.Event` and that of `multiprocessing`."""

    def is_set(self) -> bool:
        """Say whether somebody has set it."""

    def set(self) -> None:
        """Set it."""

    def clear(self) -> None:
        """Undo `set`."""


class _UntilAbandoned(Progress):
    """Goes on until a flag is set."""

    def __init__(self, abandoned: Flag) -> None:
        self._abandoned = abandoned

    def pause(self) -> None:
        """Raise `AbandonedError` once nobody waits for the work any more."""
        if self._abandoned.is_set():
            raise AbandonedError


_worker = threading.local()


def begin_thread(abandoned: Flag) -> None:
    """Initialise a worker that is a thread; `abandoned` is set when nobody waits for its work."""
    _worker.progress = _UntilAbandoned(abandoned)


def begin_process(abandoned: Flag) -> None:
    """Initialise a worker process: leave stopping to the parent, and never outlive it."""
    begin_thread(abandoned)
    child.begin()


def load(models: Sequence[str]) -> None:
    """Have the models' tables ready. Raises `WeightsError`."""
    for name in models:
        SymbolCodec.load(name)


def write(model: str, quantised: Quantised) -> Stream:
    """Write the stream of a picture that was quantised with this model."""
    return SymbolCodec.load(model).write(quantised, _progress())


def read(model: str, stream: Bitstream) -> Symbols:
    """Read the symbols in a stream of this model. Raises `BitstreamError`s."""
    return SymbolCodec.load(model).read(stream, _progress())


def tidily(job: Callable[[], _T]) -> _T:
    """Do one of the above for a large picture: what it leaves behind goes back to the system."""
    try:
        return job()
    finally:
        memory.give_back()


def _progress() -> Progress:
    return getattr(_worker, "progress", UNINTERRUPTED)
