"""models.hybrid.codec"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models import Picture, Target
from models.avif.section import restore
from models.bitstream import Bitstream, CodecKind
from models.codec import Codec
from models.errors import (
    AvifError,
    BitstreamError,
    DamagedStreamError,
    SourceError,
    StreamTooLargeError,
    UnknownModelError,
)
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.postprocess.postprocessor import Postprocess
from models.progress import Progress
from models.rate_control import meets
from tests.post import tiny_post_processor

HYBRID = HybridCodec()


@pytest.fixture(scope="module")
def picture(photo: Image.Image) -> Picture:
    return Picture.from_image(photo)


@pytest.fixture(scope="module")
def stream(picture: Picture) -> bytes:
    return HYBRID.encode(picture, Target(quality=40)).data


def error(decoded: Picture, original: Picture) -> float:
    return float(np.square(decoded.rgb.astype(float) - original.rgb).mean())


@pytest.mark.parametrize("metric", ["psnr", "ms-ssim"])
@pytest.mark.parametrize(
    "target", [Target(bpp=0.5), Target(bpp=1.5), Target(max_bytes=1000), Target(max_bytes=3000)]
)
def test_no_budget_is_exceeded(picture: Picture, metric: str, target: Target) -> None:
    made = HYBRID.encode(picture, target, metric=metric)  # type: ignore[arg-type]

    budget = target.budget(picture.pixels)
    assert budget is not None
    assert 0.9 * budget <= len(made.data) <= budget
    assert made.target_met == meets(budget, len(made.data))
    assert made.codec is CodecKind.HYBRID
    assert error(HYBRID.decode(made.data), picture) < 400


@settings(max_examples=12)
@given(bpp=st.floats(0.2, 6), side=st.integers(1, 90), other=st.integers(1, 90))
def test_streams_of_any_size_say_truly_whether_they_met_their_budget(
    bpp: float, side: int, other: int
) -> None:
    rng = np.random.default_rng(side * other)
    rgb = np.asarray(
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize(
            (side, other), Image.Resampling.BICUBIC
        )
    )
    picture = Picture.from_array(rgb)
    made = HYBRID.encode(picture, Target(bpp=bpp))

    budget = Target(bpp=bpp).budget(picture.pixels)
    assert budget is not None
    assert made.target_met == meets(max(1, budget), len(made.data))
    back = HYBRID.decode(made.data)
    assert (back.width, back.height) == (side, other)


def test_a_budget_out_of_reach_gives_the_smallest_or_the_best(picture: Picture) -> None:
    small = HYBRID.encode(picture, Target(max_bytes=20))
    large = HYBRID.encode(picture, Target(bpp=32))

    assert not small.target_met
    assert not large.target_met
    assert len(small.data) < 400
    assert error(HYBRID.decode(large.data), picture) < 8


def test_more_bytes_look_better(picture: Picture) -> None:
    errors = [
        error(HYBRID.decode(HYBRID.encode(picture, Target(quality=quality)).data), picture)
        for quality in (0, 25, 50, 75, 100)
    ]
    assert errors == sorted(errors, reverse=True)


def test_a_learned_stream_cannot_pose_as_ours(stream: bytes) -> None:
    with pytest.raises(UnknownModelError):
        HYBRID.decode(replace(Bitstream.parse(stream), codec=CodecKind.LEARNED).to_bytes())


def test_alpha_is_kept_and_counted(picture: Picture) -> None:
    plane = np.tile(np.arange(128, dtype=np.uint8), (96, 1))
    made = HYBRID.encode(replace(picture, alpha=plane), Target(max_bytes=2500))

    assert 0.9 * 2500 <= len(made.data) <= 2500
    back = HYBRID.decode(made.data)
    assert back.alpha is not None
    assert np.array_equal(back.alpha, plane)


def test_grey_stays_grey(photo: Image.Image) -> None:
    picture = Picture.from_image(photo.convert("L"))
    made = HYBRID.encode(picture, Target(bpp=1))

    back = HYBRID.decode(made.data)
    assert back.greyscale
    assert np.ptp(back.rgb, axis=2).max() == 0
    assert error(back, picture) < 100


def test_the_same_picture_and_budget_give_the_same_bytes(picture: Picture) -> None:
    first, second = (HYBRID.encode(picture, Target(bpp=0.8)).data for _ in range(2))
    assert first == second


def test_effort_buys_quality(picture: Picture) -> None:
    fast, slow = (HYBRID.encode(picture, Target(quality=50), effort=effort) for effort in (0, 9))
    assert len(slow.data) < len(fast.data)
    with pytest.raises(ValueError, match="effort"):
        HYBRID.encode(picture, Target(quality=50), effort=10)


def test_whoever_asks_it_to_stop_gets_what_there_is(picture: Picture) -> None:
    told: list[tuple[int, int]] = []

    class Stop(Progress):
        def advance(self, done: int, of: int) -> bool:
            told.append((done, of))
            return False

    made = HYBRID.encode(picture, Target(max_bytes=1111), progress=Stop())
    assert told == [(1, 2)]
    assert made.probes == 1
    assert made.target_met == meets(1111, len(made.data))
    HYBRID.decode(made.data)


def test_pixels_beyond_the_limit_are_refused_before_they_are_decoded(stream: bytes) -> None:
    with pytest.raises(StreamTooLargeError):
        HYBRID.decode(stream, max_pixels=128 * 96 - 1)


def test_a_frame_of_another_size_than_the_header_says_cannot_be_told(stream: bytes) -> None:
    """The size is in the container alone.

    A frame for another one is noise or damage, and never of more pixels.
    """
    for width, height in ((64, 64), (16384, 1), (1, 1), (127, 96), (1024, 768)):
        hostile = replace(Bitstream.parse(stream), width=width, height=height).to_bytes()
        try:
            back = HYBRID.decode(hostile)
        except DamagedStreamError:
            continue
        assert (back.width, back.height) == (width, height)


@given(data=st.data())
def test_damaged_frames_are_typed_errors_or_pictures_of_the_right_size(
    stream: bytes, data: st.DataObject
) -> None:
    header = Bitstream.parse(stream)
    start = data.draw(st.integers(0, len(header.y) - 1))
    content = (
        header.y[:start]
        + data.draw(st.binary(max_size=40))
        + header.y[data.draw(st.integers(start, len(header.y))) :]
    )
    hostile = replace(header, y=content, greyscale=data.draw(st.booleans())).to_bytes()
    try:
        back = HYBRID.decode(hostile)
    except BitstreamError:
        return
    assert (back.width, back.height) == (128, 96)


def test_streams_recommend_post_processing_where_it_was_trained(picture: Picture) -> None:
    post = tiny_post_processor(finest=0.4)
    hybrid = HybridCodec(post)
    coarse, fine = (hybrid.encode(picture, Target(quality=quality)).data for quality in (20, 90))
    assert [Bitstream.parse(data).postprocess for data in (coarse, fine)] == [True, False]

    plain = HYBRID.decode(coarse)
    source = hybrid.source(Bitstream.parse(coarse), "auto")
    assert source is not None
    improved = post.improve([plain], [source])[0]
    assert not np.array_equal(improved.rgb, plain.rgb)
    expected: dict[Postprocess, Picture] = {"auto": improved, "on": improved, "off": plain}
    for wanted, picture in expected.items():
        np.testing.assert_array_equal(hybrid.decode(coarse, postprocess=wanted).rgb, picture.rgb)
    np.testing.assert_array_equal(hybrid.decode(fine).rgb, HYBRID.decode(fine).rgb)
    for codec, data in ((hybrid, fine), (HYBRID, coarse)):
        with pytest.raises(SourceError):
            codec.decode(data, postprocess="on")


def test_streams_of_other_models_are_not_ours(stream: bytes, tiny: LearnedCodec, picture: Picture) -> None:
    for other in (
        replace(Bitstream.parse(stream), model_id=b"none").to_bytes(),
        Codec(tiny).compress(picture, quality=30).data,
    ):
        with pytest.raises(UnknownModelError):
            HYBRID.decode(other)


def test_a_failing_encoder_is_a_typed_error(picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Image.SAVE, "AVIF", lambda *_: (_ for _ in ()).throw(OSError("out of order")))
    with pytest.raises(AvifError, match="out of order"):
        HYBRID.encode(picture, Target(quality=5))


def test_the_frame_is_what_other_readers_read(stream: bytes) -> None:
    """An AVIF file that `restore` wrote opens as any other."""
    header = Bitstream.parse(stream)
    with Image.open(io.BytesIO(restore(header.y, width=128, height=96, mono=False))) as image:
        assert (image.format, image.size) == ("AVIF", (128, 96))
        assert np.array_equal(np.asarray(image), HYBRID.decode(stream).rgb)
