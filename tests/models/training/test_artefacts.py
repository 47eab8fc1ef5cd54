"""models.training.artefacts"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from models.sources import read
from models.training.artefacts import CODECS, PICTURES_A_FILE, fill, stored
from tests.make_golden import golden_picture


def quiet(line: str) -> None:
    del line


def test_every_picture_is_kept_once_a_pass_by_every_codec_and_says_its_quality(tmp_path: Path) -> None:
    pictures = [golden_picture().rgb[:64, :64], golden_picture().rgb[64:128, :96]]
    fill(tmp_path, pictures, 2, report=quiet)
    found = list(stored(tmp_path))
    assert sorted((number, kind) for number, kind, _ in found) == sorted(
        (number, kind) for number in (0, 1) for kind in CODECS for _ in "12"
    )
    assert len({file for _, _, file in found}) == len(found)
    for number, kind, file in found:
        assert read(file).kind == kind
        with Image.open(io.BytesIO(file)) as image:
            assert image.size == pictures[number].shape[1::-1]


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    pictures = [golden_picture().rgb[:16, :16]] * (PICTURES_A_FILE + 1)

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, pictures, 1, report=stop)
    (first,) = tmp_path.glob("*.tar")
    written = first.stat().st_mtime_ns
    fill(tmp_path, pictures, 1, report=quiet)
    assert first.stat().st_mtime_ns == written
    assert len(list(stored(tmp_path))) == len(CODECS) * len(pictures)
