"""models.training.postprocess.pairs"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.postprocess.sources import read
from models.training.postprocess.pairs import FILES, PICTURES_PER_ARCHIVE, avif, decode, fill, learned, stored
from models.weights import registry
from tests.make_golden import golden_picture


def quiet(line: str) -> None:
    del line


def test_every_picture_is_kept_once_a_pass_by_every_codec_and_says_its_quality(tmp_path: Path) -> None:
    pictures = [golden_picture().rgb[:64, :64], golden_picture().rgb[64:128, :96]]
    fill(tmp_path, pictures, 2, report=quiet)
    found = list(stored(tmp_path))
    assert sorted((number, kind) for number, kind, _ in found) == sorted(
        (number, kind) for number in (0, 1) for kind in FILES for _ in "12"
    )
    assert len({file for _, _, file in found}) == len(found)
    for number, kind, file in found:
        assert read(file).kind == kind
        assert decode(file).shape == pictures[number].shape


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    pictures = [golden_picture().rgb[:16, :16]] * (PICTURES_PER_ARCHIVE + 1)

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, pictures, 1, report=stop)
    (first,) = tmp_path.glob("*.tar")
    written = first.stat().st_mtime_ns
    fill(tmp_path, pictures, 1, report=quiet)
    assert first.stat().st_mtime_ns == written
    assert len(list(stored(tmp_path))) == len(FILES) * len(pictures)


def test_avif_is_of_both_makers() -> None:
    picture = golden_picture().rgb[:64, :96]
    files = [avif(picture, np.random.default_rng(seed)) for seed in range(8)]
    assert {decode(file).shape for file in files} == {picture.shape}
    assert all(0.2 < read(file).coarseness <= 1 for file in files)
    # Pillow's libavif writes boxes that the hybrid codec does not keep, or the other way round.
    assert len({file.find(b"mdat") for file in files}) == 2


def test_our_own_streams_are_a_kind_too(tmp_path: Path) -> None:
    picture = golden_picture().rgb[:64, :96]
    fill(tmp_path, [picture], 2, codecs=learned("psnr"), report=quiet)
    (_, kind, first), (_, _, second) = stored(tmp_path)
    assert kind == registry.card("psnr").model_id == read(first).kind
    coarser, finer = sorted((first, second), key=lambda file: -read(file).coarseness)
    assert len(coarser) < len(finer)
    assert decode(coarser).shape == picture.shape
