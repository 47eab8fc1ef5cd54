"""Functions that entropy workers run.

Imports neither torch nor the rest of the service: a worker is small and starts in half a second.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.bitstream import Bitstream
from models.learned.symbol_codec import SymbolCodec
from models.learned.symbols import Quantised, Symbols
from models.stream import Stream


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
