"""An evaluation from a folder of images to tables, JSON and plots, with real streams."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models import Codec
from models.evaluation import evaluate, run
from models.evaluation.report import Sweep
from models.evaluation.run import QUALITIES, RATES, image_paths, read_picture


@pytest.fixture
def folder(photo: Image.Image, tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    photo.save(pictures / "one.png")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(pictures / "two.png")
    (pictures / "notes.txt").write_text("not an image")
    return pictures


def test_evaluation(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "results"
    steps: list[tuple[str, int, int]] = []
    report = evaluate(
        folder,
        profiles=["ms-ssim"],
        against=["jpeg", "webp"],
        output=output,
        jobs=2,
        progress=lambda what, done, of: steps.append((what, done, of)),
    )
    files = {path.name for path in output.iterdir()}
    assert files == {f"pictures{end}" for end in (".json", ".md", "-psnr.png", "-ms-ssim.png", "-crops.png", "-anchors.json")}
    assert [done for _, done, _ in steps] == list(range(1, 7))
    assert {of for _, _, of in steps} == {6}
    assert steps[0][0] == "one: jpeg"
    assert [curve.codec for curve in report.curves] == ["ziggurat-ms-ssim", "jpeg", "webp"]
    assert len(report.curves[0].means) == len(QUALITIES)
    assert [row.target_bpp for row in report.operating] == list(RATES)
    assert (output / "pictures.md").read_text() == report.markdown()
    assert json.loads((output / "pictures.json").read_text())["name"] == "pictures"


def test_a_second_run_measures_only_what_is_new(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate(folder, profiles=["psnr"], against=[], output=tmp_path, rates=[0.3])
    calls: list[str] = []
    measured = run.sweep_codec

    def counted(codec: Codec, *arguments: Any) -> Sweep:
        calls.append(codec.name)
        return measured(codec, *arguments)

    monkeypatch.setattr(run, "sweep_codec", counted)
    second = evaluate(folder, profiles=["psnr", "ms-ssim"], against=[], output=tmp_path, rates=[0.3])
    assert calls == ["ms-ssim", "ms-ssim"]
    assert second.operating[0].mean.psnr == pytest.approx(first.operating[0].mean.psnr, rel=1e-5)
    evaluate(folder, profiles=["psnr"], against=[], output=tmp_path, rates=[0.6])
    assert calls[2:] == ["psnr", "psnr"]


def test_without_a_profile_of_ours(folder: Path, tmp_path: Path) -> None:
    report = evaluate(folder, profiles=[], against=["jpeg"], output=tmp_path / "results")
    assert [curve.codec for curve in report.curves] == ["jpeg"]
    assert not (tmp_path / "results" / "pictures-crops.png").exists()


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no image in"):
        image_paths(tmp_path)


def test_pictures_are_upright_and_opaque(tmp_path: Path) -> None:
    image = Image.new("RGBA", (20, 10), (10, 20, 30, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    picture = read_picture(tmp_path / "turned.png")
    assert (picture.width, picture.height, picture.alpha) == (10, 20, None)
    assert np.array_equal(picture.rgb[0, 0], [10, 20, 30])
