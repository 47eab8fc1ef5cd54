"""models.learned.refinement.annealing, on one window of the shipped models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.learned.refinement.annealing import Annealing, soften
from models.learned.refinement.rdoq import Rdoq
from models.learned.refinement.window import Window
from models.learned.symbols import Quantised
from models.progress import Progress


def relaxed(window: Window, iterations: int, budget: float | None = None) -> torch.Tensor:
    annealing = Annealing(window)
    assert annealing.run(iterations, budget, Progress())
    return annealing.residuals


def bits(window: Window, residuals: torch.Tensor) -> float:
    return window.bits(residuals, window.tables(residuals))


def test_soft_rounding_hardens_as_it_cools() -> None:
    parts = torch.tensor([0.2, 0.45, 0.5, 0.55, 0.8])
    warm, cold = soften(parts, 0.3), soften(parts, 0.001)
    assert warm[0] + warm[4] == pytest.approx(1)
    assert 0 < warm[0] < warm[1] < 0.5 == warm[2]
    assert torch.equal(cold, torch.tensor([0, 0, 0.5, 1, 1]))


def test_it_starts_from_the_residuals_that_the_window_has(found: tuple[Quantised, Window]) -> None:
    _, window = found
    assert torch.equal(Annealing(window).residuals, window.start)


def test_it_goes_further_than_descent_in_as_many_iterations(found: tuple[Quantised, Window]) -> None:
    _, window = found
    rdoq = Rdoq(window, torch.Generator().manual_seed(0))
    rdoq.run(24, None, Progress())
    assert window.loss(relaxed(window, 24)) < window.loss(rdoq.residuals) < window.loss(window.start)


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_the_price_of_a_bit_leads_near_the_budget(found: tuple[Quantised, Window], share: float) -> None:
    _, window = found
    budget = share * bits(window, window.start)
    assert bits(window, relaxed(window, 24, budget)) == pytest.approx(budget, rel=0.08)


def test_what_may_not_move_stays(found: tuple[Quantised, Window]) -> None:
    _, window = found
    movable = window.movable.clone()
    movable[..., :3] = False
    residuals = relaxed(replace(window, movable=movable), 4)
    assert torch.equal(residuals[~movable], window.start[~movable])
    assert not torch.equal(residuals, window.start)
