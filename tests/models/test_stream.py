"""Stream: rates are those of the whole stream."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.bitstream import CodecKind
from models.rate_control import Target
from models.stream import Comparison, Stream


def stream(target: Target) -> Stream:
    return Stream(
        bytes(30), width=20, height=10, quality=5, model="x", probes=1, target=target, target_met=True
    )


def test_bits_per_pixel_count_every_byte() -> None:
    assert stream(Target(quality=5)).bpp == 30 * 8 / 200


@pytest.mark.parametrize(
    ("target", "bpp"), [(Target(bpp=0.37), 0.37), (Target(max_bytes=50), 2.0), (Target(quality=50), None)]
)
def test_the_target_in_bits_per_pixel(target: Target, bpp: float | None) -> None:
    assert stream(target).target_bpp == bpp


def test_a_comparison_knows_who_scored_what() -> None:
    compared = Comparison("psnr", 30.0, 31.0)
    assert compared.of(CodecKind.LEARNED) == 30.0
    assert compared.of(CodecKind.HYBRID) == 31.0


def test_a_stream_is_shown_without_its_bytes() -> None:
    large = replace(stream(Target(max_bytes=9)), data=bytes(1_000_000), target_met=False)
    shown = repr(large)
    assert len(shown) < 120
    assert all(fact in shown for fact in ("1000000 bytes", "20x10", "learned x", "target missed"))
