"""Sweeps of ours are kept on disk as long as the models that made them are there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from models.evaluation.report import ImageSweep
from models.evaluation.sweeps import QUALITIES, OwnSweeps, own_name
from models.learned.codec import LearnedCodec
from models.picture import Picture
from models.postprocess import model as post_model
from models.weights import registry
from tests.post import install

RESULTS = Path(__file__).parents[3] / "models" / "evaluation" / "results"


@pytest.fixture(scope="module")
def picture(photo: Image.Image) -> Picture:
    return Picture.from_image(photo.crop((0, 0, 64, 64)))


def swept(path: Path, picture: Picture, *, effort: int = 0, rates: tuple[float, ...] = (0.3,)) -> ImageSweep:
    own = OwnSweeps(path)
    sweep = own.sweep(LearnedCodec.load("psnr"), picture, rates, effort=effort)
    own.save()
    return sweep


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*-ours.json")), ids=lambda path: path.stem)
def test_files_of_before_are_read_and_written_alike(path: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(path, tmp_path))
    OwnSweeps(copy).save()
    assert copy.read_bytes() == path.read_bytes()


def test_a_sweep_is_over_the_axis_and_at_the_rates(picture: Picture, tmp_path: Path) -> None:
    sweep = swept(tmp_path / "ours.json", picture)
    assert [point.setting for point in sweep.points] == pytest.approx(QUALITIES, abs=1e-2)
    assert [point.size for point in sweep.points] == sorted(point.size for point in sweep.points)
    assert [row.target_bpp for row in sweep.exact] == [0.3]
    assert sweep.exact[0].point.bpp <= 0.3


def test_with_effort_only_the_headline_rate_is_measured(picture: Picture, tmp_path: Path) -> None:
    sweep = swept(tmp_path / "ours.json", picture, effort=1, rates=(0.15, 0.3))
    assert [row.target_bpp for row in sweep.exact] == [0.15]


def test_names_tell_the_effort() -> None:
    codec = LearnedCodec.load("psnr")
    assert own_name(codec, 0) == "ziggurat-psnr"
    assert own_name(codec, 9) == "ziggurat-psnr-effort-9"


def test_sweeps_of_models_that_are_gone_are_dropped(picture: Picture, tmp_path: Path) -> None:
    path = tmp_path / "ours.json"
    swept(path, picture)
    path.write_text(path.read_text().replace(registry.card("psnr").model_id, "01234567"))
    OwnSweeps(path).save()
    assert json.loads(path.read_text())["sweeps"] == {}


def test_sweeps_before_another_post_processor_are_dropped(
    picture: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_model, "WEIGHTS", tmp_path)
    path = tmp_path / "ours.json"
    plain = swept(path, picture)
    (before,) = json.loads(path.read_text())["sweeps"]
    install("psnr", (registry.card("psnr").model_id,))
    improved = swept(path, picture)
    (after,) = json.loads(path.read_text())["sweeps"]
    assert after.replace(f" post {post_model.card('psnr').model_id}", "") == before
    assert improved.exact[0].point.size == plain.exact[0].point.size
    assert improved.exact[0].point.psnr != plain.exact[0].point.psnr
