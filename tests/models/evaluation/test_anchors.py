"""The other codecs really run with the settings that the tables claim."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from models.evaluation.anchors import ANCHORS, FAMILIES, Anchor, of_families
from models.picture import Picture

BY_NAME = {anchor.name: anchor for anchor in ANCHORS}


@pytest.fixture(scope="module")
def picture(photo: Image.Image) -> Picture:
    return Picture.from_image(photo.crop((0, 0, 64, 64)))


@pytest.mark.parametrize("anchor", ANCHORS, ids=lambda anchor: anchor.name)
def test_round_trip_and_rising_sizes(anchor: Anchor, picture: Picture) -> None:
    low, high = (anchor.encode(picture, quality) for quality in (anchor.qualities[1], anchor.qualities[-1]))
    assert len(low) < len(high)
    decoded = anchor.decode(high)
    assert (decoded.width, decoded.height) == (64, 64)
    assert abs(decoded.rgb.astype(int) - picture.rgb).mean() < 8


@pytest.mark.parametrize("anchor", ANCHORS, ids=lambda anchor: anchor.name)
def test_same_bytes_every_time(anchor: Anchor, picture: Picture) -> None:
    assert anchor.encode(picture, 40) == anchor.encode(picture, 40)


def test_jpeg_is_progressive_and_optimised(picture: Picture) -> None:
    data = BY_NAME["jpeg"].encode(picture, 50)
    with Image.open(io.BytesIO(data)) as image:
        assert image.info["progressive"]
    plain = io.BytesIO()
    picture.to_image().save(plain, "JPEG", quality=50, subsampling="4:2:0")
    assert len(data) < len(plain.getvalue())


def test_avif_tunings_and_samplings_all_differ(picture: Picture) -> None:
    variants = [anchor.encode(picture, 40) for anchor in ANCHORS if anchor.family == "avif"]
    assert len(variants) == len(set(variants)) == 4


def test_heic_tunings_differ_and_keep_every_colour_sample(picture: Picture) -> None:
    plain, psnr = (BY_NAME[name].encode(picture, 40) for name in ("heic-444", "heic-444-psnr"))
    assert plain != psnr
    with Image.open(io.BytesIO(plain)) as image:
        assert image.info["chroma"] == 444


def test_judged_qualities_are_measured_ones() -> None:
    for anchor in ANCHORS:
        assert set(anchor.judged) <= set(anchor.qualities)
        assert list(anchor.qualities) == sorted(anchor.qualities)


def test_greyscale_comes_back_grey(photo: Image.Image) -> None:
    grey = Picture.from_image(photo.convert("L").crop((0, 0, 64, 64)))
    assert all(
        anchor.decode(anchor.encode(grey, 40)).greyscale for anchor in (BY_NAME["jpeg"], BY_NAME["avif-420"])
    )


def test_families() -> None:
    assert FAMILIES == ("jpeg", "webp", "avif", "jxl", "heic", "vvc")
    assert [anchor.name for anchor in of_families(("webp", "jpeg"))] == ["jpeg", "webp"]
    assert len(of_families(("avif",))) == 4
    assert [anchor.name for anchor in of_families(("avif-444", "jpeg"))] == ["jpeg", "avif-444"]
    with pytest.raises(ValueError, match="unknown codec 'bpg'"):
        of_families(("bpg",))


def test_versions_name_the_library() -> None:
    assert all(
        anchor.version.startswith(anchor.library + " ") and "None" not in anchor.version for anchor in ANCHORS
    )
