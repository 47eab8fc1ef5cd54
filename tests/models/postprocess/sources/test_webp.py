"""models.postprocess.sources.webp"""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from models.errors import SourceError
from models.postprocess.sources import read
from tests.models.postprocess.sources.encoding import encode


@pytest.mark.parametrize(
    "options", [{}, {"method": 0}, {"method": 6, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}]
)
def test_a_webp_is_coarser_the_lower_its_quality(photo: Image.Image, options: dict[str, Any]) -> None:
    found = [read(encode(photo, "WEBP", quality=quality, **options)) for quality in (0, 20, 40, 60, 80, 100)]
    assert {source.kind for source in found} == {"webp"}
    coarseness = [source.coarseness for source in found]
    assert coarseness == sorted(coarseness, reverse=True)
    assert coarseness[0] == pytest.approx(1.0)
    assert coarseness[-1] == pytest.approx(0.0)


def test_a_lossless_file_is_refused_and_one_that_is_cut_off(photo: Image.Image) -> None:
    with pytest.raises(SourceError, match="lossless"):
        read(encode(photo, "WEBP", lossless=True))
    with pytest.raises(SourceError, match="no key frame"):
        read(encode(photo, "WEBP")[:25])
    with pytest.raises(SourceError, match="cut off"):
        read(encode(photo, "WEBP")[:32])


def test_chunks_without_end_are_not_walked() -> None:
    with pytest.raises(SourceError, match="no VP8 frame"):
        read(b"RIFF\0\0\0\0WEBP" + b"JUNK\0\0\0\0" * 1_000_000)
