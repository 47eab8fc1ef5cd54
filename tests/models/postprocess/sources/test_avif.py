"""models.postprocess.sources.avif"""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from models.avif.isobmff import box, full_box
from models.errors import SourceError
from models.postprocess.sources import read
from tests.models.postprocess.sources.encoding import encode


# libavif gives aom its quality in 64 steps, and aom the index of each in this table of its own
# (quantizer_to_qindex).
@pytest.mark.parametrize(("quality", "index"), [(10, 234), (40, 172), (70, 92)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subsampling": "4:4:4"},
        {"subsampling": "4:0:0"},
        {"tile_rows": 1, "tile_cols": 1},
        {"range": "limited"},
    ],
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


def test_a_lossless_file_is_refused(photo: Image.Image) -> None:
    with pytest.raises(SourceError, match="lossless"):
        read(encode(photo, "AVIF", quality=100, subsampling="4:4:4", speed=9))


def test_a_grid_without_cells_is_refused_as_any_broken_file() -> None:
    entry = full_box(b"infe", b"\0\1\0\0gridx", version=2)
    meta = full_box(b"pitm", b"\0\1") + full_box(b"iinf", b"\0\1", entry) + full_box(b"iref")
    with pytest.raises(SourceError, match="no cells"):
        read(box(b"ftyp", b"avif", bytes(4)) + full_box(b"meta", meta))
