"""What an entropy worker process runs. Imports neither torch nor the rest of the service: a worker is small and starts in half a second."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing import parent_process

from models.bitstream import Bitstream
from models.learned.symbol_codec import SymbolCodec
from models.learned.symbols import Quantised, Symbols
from models.stream import Stream


def begin() -> None:
    """The first thing in a worker: leave stopping to the parent, and never outlive it."""
    # Ctrl-C and service managers signal the whole group; what was accepted is finished first, and the parent says when that is.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def leave_with_parent() -> None:
        parent.join()  # returns also when the parent was killed
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()


def load(models: Sequence[str]) -> None:
    """Have the models' tables ready. Raises `WeightsError`."""
    for name in models:
        SymbolCodec.load(name)


def write(model: str, quantised: Quantised) -> Stream:
    """`SymbolCodec.write` of a model."""
    return SymbolCodec.load(model).write(quantised)


def read(model: str, stream: Bitstream) -> Symbols:
    """`SymbolCodec.read` of a model. Raises `BitstreamError`s."""
    return SymbolCodec.load(model).read(stream)
