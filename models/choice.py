"""Which codec makes a stream: the learned one, AVIF in our container (hybrid), or whichever comes out better (auto)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from models.errors import TargetError
from models.learned.symbols import Comparison, Stream
from models.rate_control import Target

CodecName = Literal["learned", "hybrid", "auto"]


def check_auto(target: Target) -> None:
    """Raises `TargetError` when there is no budget to compare the codecs at: each has a quality axis of its own."""
    if target.quality is not None:
        raise TargetError("the codec can only be chosen (auto) for a budget, bpp or max_bytes, and not for a quality")


def choose(learned: Stream, hybrid: Stream, compared: Comparison) -> Stream:
    """The one that scores better, and of equals the smaller; but first the one within the budget, where only one is."""
    return replace(max((learned, hybrid), key=lambda stream: _rank(stream, compared)), auto=compared)


def _rank(stream: Stream, compared: Comparison) -> tuple[bool, float, int]:
    budget = stream.target.budget(stream.width * stream.height)
    within = budget is None or len(stream.data) <= budget
    return within, compared.of(stream.codec), -len(stream.data)
