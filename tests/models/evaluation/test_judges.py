"""Judges agree with second implementations and rank pictures; nobody else loads their packages."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from models.evaluation.judges import (
    GROUPS,
    HELD_OUT,
    JPEG_AI,
    JUDGES,
    MODULES,
    Judge,
    Pair,
    modules,
    named,
    scores,
)

ROOT = Path(__file__).parents[3]
LESS_IS_BETTER = {"nlpd", "ciede2000"}

# What other programs say of the same pair.
SECOND: dict[Judge, float] = {
    "ms-ssim-y": 0.9906584,  # pytorch-msssim 1.0.0
    "vifp": 0.7251089,  # sewar 0.4.10
    "fsimc": 0.9733582,  # piqa 1.3.2
    "iw-ssim": 0.9802474,  # IW_SSIM_PyTorch, with zeros up to 256 pixels, as JPEG AI calls it
    "cvvdp": 9.08201,  # the package's own call, cvvdp 0.5.7
}


def _needs(judge: Judge) -> None:
    for name in modules([judge]):
        if find_spec(name) is None:
            pytest.skip(f"{judge} needs {name}, of the extra `evaluation`")


@pytest.mark.parametrize("judge", SECOND)
def test_a_second_implementation_agrees(blurred: Pair, judge: Judge) -> None:
    _needs(judge)
    assert scores(blurred, [judge])[judge] == pytest.approx(SECOND[judge], rel=1e-4)


@pytest.mark.parametrize("judge", JUDGES)
def test_better_pictures_score_better(original: Image.Image, judge: Judge) -> None:
    _needs(judge)
    pixels = np.array(original)
    found = [
        scores(Pair(np.array(original.filter(ImageFilter.GaussianBlur(radius))), pixels), [judge])[judge]
        for radius in (4, 2, 1, 0)
    ]
    assert found == sorted(found, reverse=judge in LESS_IS_BETTER)
    assert len(set(found)) == 4
    best = {
        "nlpd": 0,
        "ciede2000": 0,
        "psnr-hvs": 100,
        "cvvdp": 10,
        "ssimulacra2": 100,
        "vmaf": 97.43,  # VMAF's regression does not reach 100 without motion
        "vmaf-neg": 97.43,
    }
    assert found[-1] == pytest.approx(best.get(judge, 1), abs=0.1 if judge == "ssimulacra2" else 1e-2)


@pytest.mark.parametrize("judge", JPEG_AI)
def test_luma_judges_see_no_colour_and_fsimc_does(original: Image.Image, judge: Judge) -> None:
    """Red and blue change so that BT.709's luma stays."""
    _needs(judge)
    pixels = np.clip(np.array(original).astype(int), 60, 180).astype(np.uint8)
    shifted = pixels + np.round(np.array([30 / 0.2126, 0, -30 / 0.0722]) / 10).astype(int)
    pair = Pair(np.clip(shifted, 0, 255).astype(np.uint8), pixels)
    same = Pair(pixels, pixels)
    change = scores(pair, [judge])[judge] - scores(same, [judge])[judge]
    if judge == "fsimc":
        assert change < -1e-3
    elif judge == "psnr-hvs":
        assert scores(pair, [judge])[judge] > 45
    else:
        assert abs(change) < 0.02 * max(1, abs(scores(same, [judge])[judge]))


@pytest.mark.parametrize("judge", JUDGES)
def test_pictures_smaller_than_a_window(judge: Judge, photo: Image.Image) -> None:
    _needs(judge)
    small = photo.crop((0, 0, 64, 48))
    pair = Pair(np.array(small.filter(ImageFilter.GaussianBlur(1))), np.array(small))
    assert np.isfinite(scores(pair, [judge])[judge])


def test_luma_has_ten_bits(blurred: Pair) -> None:
    for luma in blurred.luma:
        steps = luma.numpy() * 1023
        assert np.abs(steps - steps.round()).max() < 1e-3
    white = Pair(np.full((8, 8, 3), 255, np.uint8), np.zeros((8, 8, 3), np.uint8))
    assert [float(luma.mean()) for luma in white.luma] == [1, 0]


def test_names() -> None:
    assert named("jpeg-ai,cvvdp") == (*JPEG_AI, "cvvdp")
    assert named("vmaf-neg,ssimulacra2") == ("ssimulacra2", "vmaf-neg")
    assert named("none") == ()
    assert named("all") == JUDGES == GROUPS["all"]
    assert not set(JPEG_AI) & set(HELD_OUT)
    with pytest.raises(ValueError, match="unknown judge 'lpips'"):
        named("lpips")


def test_the_packages_of_metrics_are_imported_nowhere_else() -> None:
    packages = {*MODULES.values(), "torchvision"}
    evaluation = ROOT / "models" / "evaluation"
    for path in [*(ROOT / "models").rglob("*.py"), *(ROOT / "service").rglob("*.py")]:
        if path.is_relative_to(evaluation):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not {name.partition(".")[0] for name in names} & packages, path
