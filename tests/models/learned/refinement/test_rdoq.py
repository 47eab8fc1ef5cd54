"""models.learned.refinement.rdoq, on one window of the shipped models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.learned.codec import LearnedCodec
from models.learned.refinement.rdoq import Rdoq
from models.learned.refinement.window import Window
from models.learned.symbols import Quantised
from models.progress import Progress


def bits(window: Window) -> float:
    """Count the bits of the symbols that it starts from."""
    return window.bits(window.start, window.tables(window.start))


def descended(window: Window, iterations: int, budget: float | None = None) -> Rdoq:
    rdoq = Rdoq(window, torch.Generator().manual_seed(0))
    rdoq.run(iterations, budget, Progress())
    return rdoq


def test_it_sees_the_picture_that_the_decoder_makes(
    shipped: LearnedCodec, found: tuple[Quantised, Window]
) -> None:
    quantised, window = found
    residuals = descended(window, 4, 0.95 * bits(window)).residuals
    symbols = replace(quantised.symbols, residuals=residuals[0].to(torch.int16).numpy())
    assert not np.array_equal(symbols.residuals, quantised.symbols.residuals)
    (decoded,) = shipped.reconstruct([symbols])
    x_hat = torch.from_numpy(decoded.rgb).permute(2, 0, 1)[None].float() / 255
    seen = float(window.objective.measure(x_hat, window.x)) * window.lmbda * decoded.width * decoded.height
    believed = float(window.distortion(residuals, window.mean_of(residuals)))
    assert believed == pytest.approx(seen, rel=0.03)  # the decoder's pixels are whole numbers


def test_more_iterations_lower_the_loss_further(found: tuple[Quantised, Window]) -> None:
    _, window = found
    losses = [window.loss(descended(window, n).residuals) for n in (3, 12)]
    assert window.loss(window.start) > losses[0] > losses[1]


def test_a_budget_is_met_closely_in_true_bits(found: tuple[Quantised, Window]) -> None:
    _, window = found
    budget = 0.95 * bits(window)
    rdoq = descended(window, 4, budget)
    assert rdoq.bits == pytest.approx(window.bits(rdoq.residuals, window.tables(rdoq.residuals)))
    assert 0.99 * budget < rdoq.bits <= budget


def test_what_may_not_move_stays(found: tuple[Quantised, Window]) -> None:
    _, window = found
    movable = window.movable.clone()
    movable[..., :3] = False
    residuals = descended(replace(window, movable=movable), 2, 0.95 * bits(window)).residuals
    assert torch.equal(residuals[~movable], window.start[~movable])
    assert not torch.equal(residuals, window.start)
