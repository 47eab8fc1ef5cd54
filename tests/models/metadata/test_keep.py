"""models.metadata.keep: nothing by default, no place without asking, and every loss is told."""

from __future__ import annotations

import pytest

from models.metadata import Keep, Metadata, kept, trusted
from tests.models.metadata import samples

FOUND = Metadata(samples.exif(), samples.XMP)


@pytest.mark.parametrize(
    ("keep", "dropped", "carried"),
    [
        ("none", ("exif", "icc", "xmp"), ()),
        ("keep", ("icc", "gps", "maker-note", "thumbnail"), ("exif", "xmp")),
        ("keep-with-gps", ("icc", "maker-note", "thumbnail"), ("exif", "xmp")),
    ],
)
def test_what_is_asked_for_is_kept_and_the_rest_told(
    keep: Keep, dropped: tuple[str, ...], carried: tuple[str, ...]
) -> None:
    made = kept(FOUND, keep, 30, 40, turned=6, others={"icc"})
    assert made.dropped == dropped
    assert made.metadata.names == carried


def test_what_cannot_be_read_is_told() -> None:
    made = kept(Metadata(b"?", b"?"), "keep", 30, 40)
    assert not made.metadata
    assert made.dropped == ("exif", "xmp")
    assert kept(Metadata(), "keep", 30, 40).dropped == ()


def test_ours_is_trusted_as_it_is_and_a_strangers_is_checked() -> None:
    ours = kept(FOUND, "keep-with-gps", 30, 40, turned=6).metadata
    assert trusted(ours, 30, 40) == ours
    checked = trusted(FOUND, 30, 40)
    assert checked.exif is not None
    assert samples.JPEG_OF_ORIGINAL not in checked.exif
    assert trusted(Metadata(b"?", b"?"), 30, 40) == Metadata()
