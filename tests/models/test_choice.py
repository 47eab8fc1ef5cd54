"""models.choice, and `Codec.compress` that uses it."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from PIL import Image

from models import Picture, Stream, Target
from models.bitstream import CodecKind
from models.codec import Codec, CodecName, choose
from models.errors import TargetError
from models.learned.codec import LearnedCodec
from models.stream import Comparison


def stream(codec: CodecKind, size: int, budget: int = 100) -> Stream:
    target = Target(max_bytes=budget)
    return Stream(bytes(size), width=10, height=10, quality=5, model="x", probes=1, target=target, target_met=size <= budget, codec=codec)


@pytest.mark.parametrize(
    ("learned", "hybrid", "scores", "chosen"),
    [
        (90, 90, (30.0, 31.0), CodecKind.HYBRID),
        (90, 90, (31.0, 30.0), CodecKind.LEARNED),
        (90, 120, (20.0, 31.0), CodecKind.LEARNED),
        (120, 90, (31.0, 20.0), CodecKind.HYBRID),
        (120, 130, (30.0, 31.0), CodecKind.HYBRID),
        (95, 90, (30.0, 30.0), CodecKind.HYBRID),
        (90, 95, (30.0, 30.0), CodecKind.LEARNED),
    ],
)
def test_the_better_within_the_budget_is_chosen(learned: int, hybrid: int, scores: tuple[float, float], chosen: CodecKind) -> None:
    compared = Comparison("psnr", *scores)
    made = choose(stream(CodecKind.LEARNED, learned), stream(CodecKind.HYBRID, hybrid), compared)
    assert made.codec is chosen
    assert made.auto == compared


def test_auto_is_the_better_of_what_both_make(shipped: LearnedCodec, photo: Image.Image) -> None:
    picture = Picture.from_image(photo)
    streams = {codec: Codec(shipped).compress(picture, bpp=1.0, codec=codec) for codec in get_args(CodecName)}
    scores = {
        codec: shipped.score(Picture.from_image(Codec(shipped).decompress(made.data)), picture, shipped.metric)
        for codec, made in streams.items()
    }

    auto = streams["auto"]
    assert auto.data == streams[auto.codec.name.lower()].data
    assert auto.auto == Comparison(shipped.metric, scores["learned"], scores["hybrid"])
    assert scores["auto"] == max(scores.values())
    assert shipped.metric == shipped.name


def test_without_a_budget_there_is_nothing_to_compare_at(tiny: LearnedCodec, photo: Image.Image) -> None:
    with pytest.raises(TargetError, match="budget"):
        Codec(tiny).compress(photo, quality=50, codec="auto")


def test_alpha_survives_auto(tiny: LearnedCodec, photo: Image.Image) -> None:
    image = photo.copy()
    image.putalpha(Image.fromarray(np.tile(np.arange(128, dtype=np.uint8), (96, 1))))
    back = Codec(tiny).decompress(Codec(tiny).compress(image, bpp=4, codec="auto").data)
    assert np.array_equal(np.asarray(back)[..., 3], np.asarray(image)[..., 3])
