"""models.metadata.carry: a stream with metadata keeps to the budget that was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models import Picture, Target
from models.bitstream import Bitstream
from models.learned.codec import LearnedCodec
from models.metadata import (
    Metadata,
    bytes_of,
    pack,
    unpack,
    with_metadata,
    with_overlay,
    without_room_for,
)
from tests.make_golden import golden_picture
from tests.models.metadata import samples


@pytest.fixture(scope="module")
def picture() -> Picture:
    return golden_picture()


METADATA = Metadata(samples.exif(), samples.XMP)


@pytest.mark.parametrize("metadata", [METADATA, Metadata(exif=samples.exif())])
@pytest.mark.parametrize("target", [Target(max_bytes=2400), Target(bpp=0.7), Target(quality=30)])
def test_the_budget_counts_the_metadata(
    tiny: LearnedCodec, picture: Picture, target: Target, metadata: Metadata
) -> None:
    section = pack(metadata)
    reduced = without_room_for(target, section, picture.pixels)
    plain = tiny.encode([picture], [reduced])[0]
    stream = with_metadata(plain, section, target)
    assert len(stream.data) == len(plain.data) + bytes_of(section)
    assert stream.target == target
    assert stream.target_met
    budget = target.budget(picture.pixels)
    assert budget is None or 0.99 * budget <= len(stream.data) <= budget
    parsed = Bitstream.parse(stream.data)
    assert unpack(parsed.metadata or b"") == metadata
    assert replace(parsed, metadata=None).to_bytes() == plain.data


def test_metadata_larger_than_the_budget_misses_it_and_says_so(tiny: LearnedCodec, picture: Picture) -> None:
    section, target = pack(METADATA), Target(max_bytes=400)
    plain = tiny.encode([picture], [without_room_for(target, section, picture.pixels)])[0]
    stream = with_metadata(plain, section, target)
    assert len(stream.data) > 400
    assert not stream.target_met


def test_without_metadata_all_is_as_it_was(tiny: LearnedCodec, picture: Picture) -> None:
    target = Target(bpp=0.9)
    assert without_room_for(target, None, 1) is target
    stream = tiny.encode([picture], [target])[0]
    assert with_metadata(stream, None, target) is stream
    assert bytes_of(None) == 0


def test_an_overlay_is_carried_beside_metadata(tiny: LearnedCodec, picture: Picture) -> None:
    target, overlay, section = Target(max_bytes=2400), bytes(200), pack(METADATA)
    rest = without_room_for(without_room_for(target, section, picture.pixels), overlay, picture.pixels)
    made = tiny.encode([picture], [rest])[0]
    carried = with_metadata(with_overlay(made, overlay, target), section, target)
    stream = Bitstream.parse(carried.data)
    assert (stream.overlay, stream.metadata) == (overlay, section)
    assert len(carried.data) == len(made.data) + bytes_of(overlay) + bytes_of(section) <= 2400
    assert carried.target_met
