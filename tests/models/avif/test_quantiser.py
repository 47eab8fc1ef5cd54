"""models.avif.quantiser"""

from __future__ import annotations

import io

import pytest
from PIL import Image

from models.avif import obu
from models.avif.isobmff import coded_item
from models.avif.quantiser import base_q_idx


def coded(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "AVIF", **{"speed": 9, **options})
    return coded_item(file.getvalue())


# libavif gives aom its quality in 64 steps, and aom's table quantizer_to_qindex has an index for
# each.
@pytest.mark.parametrize(("quality", "index"), [(10, 234), (40, 172), (70, 92)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subsampling": "4:4:4"},
        {"subsampling": "4:0:0"},
        {"range": "limited"},
        {"tile_rows": 1, "tile_cols": 1},
        {"codec": "aom", "advanced": {"sb-size": "64"}},
    ],
)
def test_the_index_is_the_one_that_the_encoder_chose(
    photo: Image.Image, quality: int, index: int, options: dict[str, object]
) -> None:
    assert base_q_idx(coded(photo.resize((512, 384)), quality=quality, **options)) == pytest.approx(
        index, abs=3
    )


def test_the_first_frame_of_a_film_is_read(photo: Image.Image) -> None:
    still = base_q_idx(coded(photo, quality=40))
    film = base_q_idx(coded(photo, quality=40, save_all=True, append_images=[photo.rotate(180)]))
    assert film == pytest.approx(still, abs=40)


def test_a_lossless_picture_has_index_0(photo: Image.Image) -> None:
    assert base_q_idx(coded(photo, quality=100, subsampling="4:4:4")) == 0


def test_a_stream_without_a_frame_is_refused(photo: Image.Image) -> None:
    units = list(obu.units(coded(photo)))
    header = next(unit for unit in units if unit.kind == obu.SEQUENCE_HEADER)
    frame = next(unit for unit in units if unit.kind == obu.FRAME)
    for stream in (b"", obu.unit(header.kind, header.payload), obu.unit(frame.kind, frame.payload)):
        with pytest.raises(ValueError, match="no AV1 frame"):
            base_q_idx(stream)


def test_a_frame_that_is_cut_off_within_its_header_is_told(photo: Image.Image) -> None:
    header = next(unit for unit in obu.units(coded(photo)) if unit.kind == obu.SEQUENCE_HEADER)
    with pytest.raises(IndexError):
        base_q_idx(obu.unit(header.kind, header.payload) + obu.unit(obu.FRAME, b""))
