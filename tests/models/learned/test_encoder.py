"""Encoder: residuals that cost much and say little become 0.

A picture is analysed once, however many its targets.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import Picture, Target
from models.entropy.tables import LARGEST_RESIDUAL
from models.learned.codec import LearnedCodec
from models.learned.encoder import _dead_zone, _Quantiser
from models.learned.model import CodecModel
from models.progress import Progress
from tests.make_golden import FIXTURES, golden_picture


@pytest.fixture(scope="module")
def zone() -> torch.Tensor:
    return _dead_zone(CodecModel.load(FIXTURES / "tiny.safetensors").tables)


def test_the_dead_zone_is_rounding_at_least_and_everything_under_table_0(zone: torch.Tensor) -> None:
    assert zone.shape == (64,)
    assert zone[0] == torch.inf
    assert zone[1:].min() >= 0.5
    assert zone[1:].max() <= 0.7 + 1e-6
    assert zone[1] > zone[63], "a step away from 0 costs most under the narrowest table"


def test_the_quantiser_rounds_clamps_and_drops() -> None:
    scaled = torch.tensor([0.2, 0.55, 0.7, -1.4, 1e9]).view(1, 1, 1, 5)
    dead_zone = torch.tensor([0.5, 0.6, 0.6, 0.5, 0.5]).view(1, 1, 1, 5)
    residuals = _Quantiser(scaled, dead_zone)(torch.zeros(1, 1, 1, 5))
    assert residuals.flatten().tolist() == [0, 0, 1, -1, LARGEST_RESIDUAL]


def test_one_picture_at_many_qualities_is_analysed_once(
    tiny: LearnedCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, other = golden_picture(), Picture.from_array(np.full((144, 192, 3), 90, np.uint8))
    analysed: list[int] = []
    latents = tiny._transforms.latents

    def counted(pictures: list[Picture], progress: Progress) -> torch.Tensor:
        analysed.append(len(pictures))
        return latents(pictures, progress)

    monkeypatch.setattr(tiny._transforms, "latents", counted)
    found = tiny.quantise(
        [picture, other, picture], [Target(quality=20), Target(quality=20), Target(quality=60)]
    )
    assert analysed == [2]
    assert [quantised.symbols.position.quality for quantised in found] == pytest.approx(
        [20, 20, 60], abs=0.01
    )
    assert found[2].predicted_bytes > found[0].predicted_bytes > found[1].predicted_bytes


def test_a_fraction_of_the_budget_is_aimed_at(shipped: LearnedCodec) -> None:
    picture, target = golden_picture(), Target(bpp=0.3)
    full, less = (
        shipped._encoder.quantise([picture], [target], [None], target_fraction=fraction)[0]
        for fraction in (1.0, 0.9)
    )
    assert full.budget == less.budget
    assert less.predicted_bytes / full.predicted_bytes == pytest.approx(0.9, abs=0.02)
