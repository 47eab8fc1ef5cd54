"""models.hybrid.libaom"""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from PIL import Image

from models.avif.isobmff import coded_item
from models.avif.quantiser import base_q_idx
from models.errors import AvifError
from models.hybrid.libaom import EFFORT_SPEEDS, SECONDS_PER_MEGAPIXEL, encode, speed_of
from models.rate_control import Metric
from models.rate_control.avif_search import LAST_SETTING, STRENGTHS


def test_more_effort_is_never_faster() -> None:
    speeds = [speed_of(effort, 400_000) for effort in range(10)]
    assert speeds == list(EFFORT_SPEEDS) == sorted(speeds, reverse=True)
    seconds = [SECONDS_PER_MEGAPIXEL[speed] for speed in speeds]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize(
    ("pixels", "lowest"), [(8_000_000, 0), (8_000_001, 8), (32_000_000, 8), (32_000_001, 9)]
)
def test_large_pictures_are_encoded_faster(pixels: int, lowest: int) -> None:
    assert speed_of(9, pixels) == lowest
    assert speed_of(0, pixels) == max(lowest, EFFORT_SPEEDS[0])


@pytest.mark.parametrize("effort", [-1, 10])
def test_there_is_no_such_effort(effort: int) -> None:
    with pytest.raises(ValueError, match="effort is 0 to 9"):
        speed_of(effort, 1)


@pytest.mark.parametrize("metric", get_args(Metric))
def test_levels_go_from_the_coarsest_quantiser_to_the_finest(photo: Image.Image, metric: Metric) -> None:
    small = np.asarray(photo.resize((48, 32)))
    files = [encode(small, metric, level * STRENGTHS, speed=9) for level in (0, 1, 2, 16, 32, 48, 63)]
    indices = [base_q_idx(coded_item(file)) for file in files]
    assert indices == sorted(indices, reverse=True)
    assert indices[0] == 255
    assert [len(file) for file in files[2:]] == sorted(len(file) for file in files[2:])
    encode(small, metric, LAST_SETTING, speed=9)


@pytest.mark.parametrize("metric", get_args(Metric))
def test_strengths_fill_the_gap_between_levels(photo: Image.Image, metric: Metric) -> None:
    samples = np.asarray(photo)
    low, high, next_level = (len(encode(samples, metric, setting, speed=9)) for setting in (640, 671, 672))
    assert low < high
    assert low < next_level


def test_what_pillow_cannot_encode_is_a_typed_error() -> None:
    with pytest.raises(AvifError, match="Pillow cannot write AVIF"):
        encode(np.zeros((1, 70_000), np.uint8), "psnr", 0, speed=9)  # over AV1's largest side
