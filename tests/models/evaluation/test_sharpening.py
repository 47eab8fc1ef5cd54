"""models.evaluation.sharpening: what an unsharp mask does to the judges"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from models.evaluation import sharpening
from models.evaluation.judges import Pair, scores
from models.learned.codec import LearnedCodec
from models.picture import Picture
from models.rate_control import Target
from tests.make_golden import golden_picture


def test_the_mask_sharpens() -> None:
    picture = golden_picture()
    sharp = sharpening.sharpened(picture).rgb.astype(int)
    steps, before = (np.abs(np.diff(pixels, axis=1)).mean() for pixels in (sharp, picture.rgb.astype(int)))
    assert steps > 1.1 * before


class Blurring:
    """A codec that gives back a blurred picture."""

    name = "blurring"

    def encode(self, pictures: list[Picture], targets: list[Target]) -> list[SimpleNamespace]:
        assert len(targets) == len(pictures)
        return [SimpleNamespace(data=picture) for picture in pictures]

    def decode(self, data: list[Picture]) -> list[Picture]:
        blur = ImageFilter.GaussianBlur(1.0)
        return [Picture.from_array(np.asarray(Image.fromarray(one.rgb).filter(blur))) for one in data]


def test_a_judge_sees_that_a_blurred_picture_gains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(golden_picture().rgb).save(tmp_path / "a.png")
    monkeypatch.setattr(LearnedCodec, "load", lambda _: Blurring())
    arguments = ["sharpening", "--images", str(tmp_path), "--profiles", "any", "--judges", "ssimulacra2"]
    monkeypatch.setattr(sys, "argv", arguments)
    told: list[str] = []
    sharpening.main(told.append)
    head, _, row = told[0].splitlines()
    assert head == "| judge | blurring |"
    assert row.startswith("| ssimulacra2 | +")


def test_a_change_is_after_less_before(codec: LearnedCodec) -> None:
    picture = Picture.from_array(golden_picture().rgb[:64, :64])
    found = sharpening.changes(codec, [picture], 1.0, ("ssimulacra2",))
    (stream,) = codec.encode([picture], [Target(bpp=1.0)])
    (decoded,) = codec.decode([stream.data])
    before, after = (
        scores(Pair(one.rgb, picture.rgb), ["ssimulacra2"])["ssimulacra2"]
        for one in (decoded, sharpening.sharpened(decoded))
    )
    assert found == {"ssimulacra2": pytest.approx(after - before)}
