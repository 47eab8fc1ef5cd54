"""AVIF: base_q_idx in the AV1 frame header of the primary item."""

from __future__ import annotations

from models.avif import quantiser
from models.avif.isobmff import coded_item, is_avif

__all__ = ["coarseness", "is_avif"]


def coarseness(file: bytes) -> float:
    """base_q_idx / 255. Raises ValueError, IndexError or KeyError for a lossless or broken file."""
    index = quantiser.base_q_idx(coded_item(file))
    if index == 0:
        raise ValueError("it is lossless")
    return index / quantiser.MAX_INDEX
