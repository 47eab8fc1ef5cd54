"""Streams that carry metadata, or an overlay, within the budget that was asked for.

    target --less the section's bytes--> any codec --> stream --with the section--> stream

The codecs know nothing of it: the section's length is known before, to the byte.
"""

from __future__ import annotations

from dataclasses import replace

from models.bitstream import Bitstream, header_bytes
from models.rate_control import Target, meets
from models.stream import Stream


def bytes_of(section: bytes | None) -> int:
    """Bytes that a stream grows by with this section; 0 for none."""
    if section is None:
        return 0
    return len(section) + header_bytes(len(section)) - header_bytes()


def without_room_for(target: Target, section: bytes | None, pixels: int) -> Target:
    """The target of a stream that this section is added to afterwards.

    A section that takes all of the budget leaves 1 byte, which no stream keeps to.
    """
    budget = target.budget(pixels)
    if section is None or budget is None:
        return target
    return replace(target, bpp=None, max_bytes=max(1, budget - bytes_of(section)))


def with_metadata(stream: Stream, section: bytes | None, target: Target) -> Stream:
    """The stream with a section that it was made to have room for; `target` is the one for all."""
    if section is None:
        return stream
    return _with(stream, replace(Bitstream.parse(stream.data), metadata=section), target)


def with_overlay(stream: Stream, section: bytes, target: Target) -> Stream:
    """The same with the section of an overlay."""
    return _with(stream, replace(Bitstream.parse(stream.data), overlay=section), target)


def _with(stream: Stream, grown: Bitstream, target: Target) -> Stream:
    data = grown.to_bytes()
    budget = target.budget(stream.width * stream.height)
    # What meets the smaller budget meets this one, whose tolerance is the larger. Minima are met or
    # not by the picture, whatever the size.
    met = stream.target_met
    if budget is not None and not target.minima:
        met |= meets(budget, len(data), target.tolerance)
    return replace(stream, data=data, target=target, target_met=met)
