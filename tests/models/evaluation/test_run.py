"""An evaluation from a folder of images to tables, JSON and plots, with real streams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.evaluation import EvaluationOptions, evaluate, sweeps
from models.evaluation.judges import Judge
from models.evaluation.report import ImageSweep, Report
from models.evaluation.run import image_paths, read_picture
from models.evaluation.sweeps import QUALITIES
from models.learned.codec import LearnedCodec


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
        output,
        EvaluationOptions(
            profiles=["ms-ssim"],
            against=["jpeg", "webp"],
            rates=[0.15, 0.5],
            jobs=2,
            judges=["psnr-hvs", "ssimulacra2"],
        ),
        on_step=lambda what, done, of: steps.append((what, done, of)),
    )
    files = {path.name for path in output.iterdir()}
    plots = {f"-{metric}.png" for metric in ("psnr", "ms-ssim", "ssimulacra2")}
    assert files == {
        f"pictures{end}"
        for end in (".json", ".md", "-crops-ms-ssim.jpg", "-anchors.json", "-ours.json", *plots)
    }
    assert [done for _, done, _ in steps] == list(range(1, 7))
    assert {of for _, _, of in steps} == {6}
    assert steps[0][0] == "one: jpeg"
    assert [curve.codec for curve in report.curves] == ["ziggurat-ms-ssim", "jpeg", "webp"]
    assert len(report.curves[0].means) == len(QUALITIES)
    assert [row.target_bpp for row in report.operating] == [0.15, 0.5]
    assert (output / "pictures.md").read_text() == report.markdown()
    assert json.loads((output / "pictures.json").read_text())["name"] == "pictures"
    assert {row.metric for row in report.comparisons} == {"psnr", "ms-ssim", "psnr-hvs", "ssimulacra2"}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whatever of ours is really measured: model and effort."""
    calls: list[str] = []
    sweep_codec = sweeps.sweep_codec

    def counted(codec: LearnedCodec, *arguments: Any, **options: Any) -> ImageSweep:
        calls.append(f"{codec.name} {options['effort']}")
        return sweep_codec(codec, *arguments, **options)

    monkeypatch.setattr(sweeps, "sweep_codec", counted)
    return calls


def test_a_second_run_measures_only_what_is_new(folder: Path, tmp_path: Path, measured: list[str]) -> None:
    (folder / "two.png").unlink()

    def run(*profiles: str, rate: float = 0.3, judges: Sequence[Judge] = ()) -> Report:
        options = EvaluationOptions(profiles=profiles, rates=[rate], judges=judges)
        return evaluate(folder, tmp_path, options)

    first = run("psnr")
    second = run("psnr", "ms-ssim")
    assert measured == ["psnr 0", "ms-ssim 0"]
    assert second.operating[0].mean.psnr == pytest.approx(first.operating[0].mean.psnr, rel=1e-5)
    measured.clear()
    run("psnr", rate=0.6)
    assert measured == ["psnr 0"], "another rate"
    measured.clear()
    run("ms-ssim", judges=["nlpd"])
    assert measured == ["ms-ssim 0"], "metrics that were not taken"
    run("ms-ssim")
    assert len(measured) == 1


def test_each_effort_has_a_curve_of_its_own(folder: Path, tmp_path: Path, measured: list[str]) -> None:
    (folder / "two.png").unlink()

    def run(*efforts: int) -> Report:
        options = EvaluationOptions(profiles=["psnr"], rates=[0.15, 0.3], efforts=efforts)
        return evaluate(folder, tmp_path, options)

    report = run(0, 2)
    assert [curve.codec for curve in report.curves] == ["ziggurat-psnr", "ziggurat-psnr-effort-2"]
    assert [(row.codec, row.target_bpp) for row in report.operating] == [
        ("ziggurat-psnr", 0.15),
        ("ziggurat-psnr", 0.3),
        ("ziggurat-psnr-effort-2", 0.15),
    ]
    run(2)
    run(0)
    assert measured == ["psnr 0", "psnr 2"]


def test_without_a_profile_of_ours(folder: Path, tmp_path: Path) -> None:
    report = evaluate(folder, tmp_path / "results", EvaluationOptions(against=["jpeg"]))
    assert [curve.codec for curve in report.curves] == ["jpeg"]
    assert not list((tmp_path / "results").glob("*-crops-*"))


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
