"""Functions that entropy workers run.

Imports neither torch nor the rest of the service: a worker is small and starts in half a second.
"""

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
    """Initialise a worker process: leave stopping to the parent, and never outlive it."""
    # Ctrl-C and service managers signal the whole group. The parent finishes what was accepted
    # first, and says when that is.
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
    """Write the stream of a picture that was quantised with this model."""
    return SymbolCodec.load(model).write(quantised)


def read(model: str, stream: Bitstream) -> Symbols:
    """Read the symbols in a stream of this model. Raises `BitstreamError`s."""
    return SymbolCodec.load(model).read(stream)
