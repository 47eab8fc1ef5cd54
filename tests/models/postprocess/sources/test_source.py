"""models.postprocess.sources: what files of real encoders say of their quantiser"""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.errors import SourceError
from models.postprocess.sources import Source, read


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:4:4", "optimize": True}])
@pytest.mark.parametrize("quality", [5, 10, 35, 50, 75, 95])
def test_a_jpegs_quality_is_the_one_that_its_encoder_was_given(photo: Image.Image, quality: int, options: dict[str, Any]) -> None:
    source = read(encode(photo, "JPEG", quality=quality, **options))
    assert source.kind == "jpeg"
    assert source.coarseness == pytest.approx(1 - quality / 100, abs=0.006)


def test_a_grey_jpeg_with_metadata_is_read_too(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description with bytes like \xff\xdb in it"
    assert read(encode(photo.convert("L"), "JPEG", quality=40, exif=exif)).coarseness == pytest.approx(0.6, abs=0.006)


@pytest.mark.parametrize("options", [{}, {"method": 0}, {"method": 6, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}])
def test_a_webp_is_coarser_the_lower_its_quality(photo: Image.Image, options: dict[str, Any]) -> None:
    found = [read(encode(photo, "WEBP", quality=quality, **options)) for quality in (0, 20, 40, 60, 80, 100)]
    assert {source.kind for source in found} == {"webp"}
    coarseness = [source.coarseness for source in found]
    assert coarseness == sorted(coarseness, reverse=True)
    assert coarseness[0] == pytest.approx(1.0)
    assert coarseness[-1] == pytest.approx(0.0)


# libavif gives aom its quality in 64 steps, and aom the index of each in this table of its own (quantizer_to_qindex).
@pytest.mark.parametrize(("quality", "index"), [(10, 234), (40, 172), (70, 92)])
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": "4:4:4"}, {"subsampling": "4:0:0"}, {"tile_rows": 1, "tile_cols": 1}, {"range": "limited"}]
)
def test_an_avifs_quantiser_is_the_one_that_its_encoder_chose(
    photo: Image.Image, quality: int, index: int, options: dict[str, Any]
) -> None:
    source = read(encode(photo.resize((512, 384)), "AVIF", quality=quality, speed=9, **options))
    assert source.kind == "avif"
    assert source.coarseness * 255 == pytest.approx(index, abs=3)


def test_an_avif_with_alpha_tells_of_its_colours(photo: Image.Image) -> None:
    opaque = read(encode(photo, "AVIF", quality=30, speed=9))
    photo = photo.copy()
    photo.putalpha(photo.convert("L"))
    assert read(encode(photo, "AVIF", quality=30, speed=9)) == opaque


def test_what_has_no_quantiser_is_refused(photo: Image.Image) -> None:
    with pytest.raises(SourceError, match="not a JPEG, WebP or AVIF"):
        read(encode(photo, "PNG"))
    with pytest.raises(SourceError, match="lossless"):
        read(encode(photo, "WEBP", lossless=True))
    with pytest.raises(SourceError, match="lossless"):
        read(encode(photo, "AVIF", quality=100, subsampling="4:4:4", speed=9))
    with pytest.raises(SourceError):
        read(b"")


@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_but_never_fails(data: st.DataObject) -> None:
    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    file = bytearray(encode(picture, data.draw(st.sampled_from(["JPEG", "WEBP", "AVIF"])), quality=30))
    for _ in range(data.draw(st.integers(0, 4))):
        file[data.draw(st.integers(0, min(len(file), 700) - 1))] = data.draw(st.integers(0, 255))
    del file[data.draw(st.integers(0, len(file))) :]
    try:
        source = read(bytes(file))
    except SourceError:
        return
    assert isinstance(source, Source)
    assert 0 <= source.coarseness <= 1
