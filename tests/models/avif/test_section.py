"""models.avif.section"""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile

from models.avif.section import restore, strip
from models.errors import AvifError, DamagedStreamError


def avif(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(
        file,
        "AVIF",
        codec="aom",
        max_threads=1,
        autotiling=False,
        **{"subsampling": "4:4:4", "quality": 40, "speed": 9, **options},
    )
    return file.getvalue()


def pixels(file: bytes) -> tuple[str, np.ndarray]:
    with Image.open(io.BytesIO(file), formats=["AVIF"]) as image:
        return image.mode, np.array(image)


@pytest.mark.parametrize("size", [(128, 96), (1, 1), (3, 200), (200, 3), (65, 129)])
@pytest.mark.parametrize(("mode", "subsampling"), [("RGB", "4:4:4"), ("RGB", "4:2:0"), ("L", "4:0:0")])
@pytest.mark.parametrize("options", [{"speed": 9}, {"speed": 6, "advanced": {"tune": "psnr"}}])
def test_what_is_left_out_is_rebuilt(
    photo: Image.Image, size: tuple[int, int], mode: str, subsampling: str, options: dict[str, object]
) -> None:
    file = avif(photo.resize(size).convert(mode), subsampling=subsampling, **options)
    width, height = size

    section = strip(file, width=width, height=height, mono=mode == "L")
    rebuilt = restore(section, width=width, height=height, mono=mode == "L")

    assert len(section) <= len(file) - 280
    (found, decoded), (wanted, original) = pixels(rebuilt), pixels(file)
    assert found == wanted == mode
    assert np.array_equal(decoded, original)
    assert strip(rebuilt, width=width, height=height, mono=mode == "L") == section


def test_a_picture_of_another_size_or_kind_is_not_stripped(photo: Image.Image) -> None:
    file = avif(photo)
    for size in ({"width": 127, "height": 96, "mono": False}, {"width": 128, "height": 96, "mono": True}):
        with pytest.raises(AvifError, match="another size or kind"):
            strip(file, **size)  # type: ignore[arg-type]


def test_what_the_sequence_header_cannot_say_again_is_not_stripped(photo: Image.Image) -> None:
    with_profile = photo.copy()
    with_profile.info["icc_profile"] = (
        b"x" * 128
    )  # which leaves the colours of the sequence header undescribed
    animation = io.BytesIO()
    photo.save(animation, "AVIF", save_all=True, append_images=[photo.rotate(180)], speed=9)
    for file in (
        avif(with_profile),
        avif(photo, range="limited"),
        animation.getvalue(),
        avif(photo)[:300],
        b"",
        b"not an AVIF file",
    ):
        with pytest.raises(AvifError):
            strip(file, width=128, height=96, mono=False)


@pytest.mark.parametrize(
    ("section", "mono"), [(b"", False), (b"\x00", False), (b"\x80abc", False), (b"\x01abc", True)]
)
def test_tools_that_do_not_exist_are_damage(section: bytes, mono: bool) -> None:
    with pytest.raises(DamagedStreamError):
        restore(section, width=8, height=8, mono=mono)


@given(
    frame=st.binary(min_size=1, max_size=300),
    tools=st.integers(0, 127),
    width=st.integers(1, 16384),
    height=st.integers(1, 16384),
)
def test_any_section_becomes_a_file_of_the_size_told(
    frame: bytes, tools: int, width: int, height: int
) -> None:
    section = bytes([tools]) + frame
    file = restore(section, width=width, height=height, mono=False)

    assert strip(file, width=width, height=height, mono=False) == section
    with AvifImageFile(io.BytesIO(file)) as image:  # the header alone
        assert image.size == (width, height)
