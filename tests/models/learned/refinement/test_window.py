"""Window: its loss is the one that streams and pictures have."""

from __future__ import annotations

import pytest
import torch

from models.learned.refinement.window import Window
from models.learned.symbols import Quantised


def test_code_length_and_loss_are_of_what_is_coded(found: tuple[Quantised, Window]) -> None:
    quantised, window = found
    bits = window.bits(window.start, window.tables(window.start))
    # Less the container, z and how the coder ends a section.
    assert 8 * quantised.predicted_bytes * 0.7 < bits < 8 * quantised.predicted_bytes
    distortion = window.distortion(window.start, window.mean_of(window.start))
    assert window.loss(window.start) == pytest.approx(float(distortion) + bits)


def test_a_wrong_residual_costs_distortion(found: tuple[Quantised, Window]) -> None:
    _, window = found
    wrong = window.start.clone()
    wrong[:, 0] += 3
    with torch.no_grad():
        before = window.distortion(window.start, window.mean_of(window.start))
        after = window.distortion(wrong, window.mean_of(wrong))
    assert after > before
