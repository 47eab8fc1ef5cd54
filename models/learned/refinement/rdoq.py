"""RDOQ, rate-distortion optimised quantisation: steps of integers that lower lambda D + price * R
in one window.

A stream holds residuals, and y_hat = r + mean. A residual changes its own y_hat by its step.
Through the mean's context it also changes that of up to eight neighbours in later passes. So a step
is judged by what it does to the picture through all of them. The passes step one after the other:
those that follow see how far the steps before moved their means, and answer. With d the distance
that a mean has moved so far,

    D(r + e) - D(r) = (g + h d) e + k e^2 / 2

    g       gradient through g_s and the means of others, from one backward pass an iteration
    k, h    diagonals of the curvature, by the residuals (as for g) and by y_hat, from one more
            backward pass at the start: along random signs, averaged over each channel and pass
            (Hutchinson's estimator). Where no mean looks at a residual, they are the same

R is from the tables that the symbols have at the time. All residuals that promise a gain could step
at once, but their effects add up in g_s. So a random part of them steps. A trust region scales k
and h by how well the last promise came true, and takes back what made things worse.

A budget is met by the price of a bit: the chosen steps land on it. That takes a few tries, because
every step also changes its neighbours' means and tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from models.entropy.tables import LARGEST_RESIDUAL
from models.grid import PASSES
from models.learned.refinement.window import Window
from models.network.context import pass_mask
from models.progress import Progress

# Of the steps that promise a gain, taken at a time; with more, they lose what each of them won.
STEP_FRACTION = 0.4
CURVATURE_PROBE = 0.25  # quantiser steps along the random signs that measure the curvature
LOWEST_PRICE = 0.05  # of a bit, in bits of lambda D
HIGHEST_PRICE = 50.0
PRICE_BISECTIONS = 24
LANDING_TRIES = 8  # of the last step, which must land within the budget
LANDING_FRACTION = 0.001  # of the budget: so little under it is close enough

INITIAL_TRUST = 1.0
INITIAL_TRUST_MS_SSIM = 1.5  # its curvature is the less known
TRUST_AFTER_LOSS = 1.6  # factors on the curvature, by the share of the promised gain that came true
TRUST_AFTER_LITTLE = 1.2
TRUST_AFTER_MUCH = 0.87
LITTLE_KEPT = 0.35
MUCH_KEPT = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """Residuals and all that follows from them.

    Attributes:
        residuals: (1, M, h, w), integers.
        mean: prediction of scaled y with these residuals (1, M, h, w).
        distortion: lambda D in bits.
        gradient: derivative of lambda D by the residuals, through the means too (1, M, h, w).
        sensitivity: derivative of lambda D by y_hat (1, M, h, w).
        tables: table of every residual (1, M, h, w).
        bits: code length of all residuals.
    """

    residuals: Tensor
    mean: Tensor
    distortion: float
    gradient: Tensor
    sensitivity: Tensor
    tables: Tensor
    bits: float

    @property
    def loss(self) -> float:
        """Lambda D + R in bits."""
        return self.distortion + self.bits


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """One step down or up of the residuals that may take it, in the order of `may`.

    Attributes:
        may: which residuals (1, M, h, w), bool.
        distortion: change of lambda D by the expansion, while their means stay (2, n): down, up.
        bits: change of the code length by the tables of the time (2, n).
        tilt: change of lambda D by a step up for each step that the mean has moved: h (n,).
    """

    may: Tensor
    distortion: Tensor
    bits: Tensor
    tilt: Tensor

    def chosen(self, price: float, shift: Tensor | None = None) -> Tensor:
        """Choose the step that lowers distortion + price * bits most, if any: -1, 0 or 1 (n,).

        Args:
            price: of a bit.
            shift: how far the means of the first residuals have moved (m,); then only theirs are
                chosen (m,).
        """
        change = self.distortion + price * self.bits
        if shift is not None:
            tilted = self.tilt[: len(shift)] * shift
            change = change[:, : len(shift)] + torch.stack([-tilted, tilted])
        down, up = change
        return torch.where(torch.minimum(down, up) < 0, torch.where(down < up, -1, 1), 0)

    def bits_of(self, chosen: Tensor) -> float:
        """Add up the bits that the chosen steps cost."""
        return float((self.bits * torch.stack([chosen < 0, chosen > 0])).double().sum())


class Rdoq:
    """Steps from where the window starts; `residuals` and `bits` say how far it has come."""

    def __init__(self, window: Window, random: torch.Generator) -> None:
        self._window = window
        self._random = random
        self._by_mse = window.objective.distortion == "mse"
        self._state = self._at(window.start)
        self._curvature, self._curvature_by_y_hat = self._measure_curvature()

    @property
    def residuals(self) -> Tensor:
        """Residuals by now (1, M, h, w), integers."""
        return self._state.residuals

    @property
    def bits(self) -> float:
        """Code length of all residuals in the window and around it."""
        return self._state.bits

    @property
    def loss(self) -> float:
        """Lambda D + R of the residuals, in bits."""
        return self._state.loss

    def run(self, iterations: int, budget: float | None, progress: Progress) -> None:
        """Step `iterations` times.

        Args:
            iterations: at least 1.
            budget: bits; every iteration aims at it, and the last makes sure of it. None without a
                budget.
            progress: may end it early; one more iteration is then the last.
        """
        trust = INITIAL_TRUST if self._by_mse else INITIAL_TRUST_MS_SSIM
        price = 1.0
        for done in range(iterations):
            last = done == iterations - 1 or not progress.advance(done, iterations)
            steps = self._steps(trust)
            if last:
                self._finish(steps, price, budget)
                break
            if budget is not None:
                price = self._price(steps, budget)
            trust *= self._try(steps, price, trust)
        progress.advance(iterations, iterations)

    def _try(self, steps: _Steps, price: float, trust: float) -> float:
        """Take the steps unless they make things worse.

        The factor by which to change the trust in the curvature.
        """
        before = self._state
        moved, mean = self._moved(steps, price)
        after = self._at(moved)
        change = moved - before.residuals + mean - before.mean  # of y_hat
        expected = before.sensitivity * change + 0.5 * trust * self._curvature_by_y_hat * change.square()
        promised = -float(expected.double().sum())
        saved = price * (before.bits - after.bits)
        kept = (before.distortion - after.distortion + saved) / max(promised + saved, 1e-9)
        if kept <= 0:
            return TRUST_AFTER_LOSS
        self._state = after
        if kept < LITTLE_KEPT:
            return TRUST_AFTER_LITTLE
        return TRUST_AFTER_MUCH if kept > MUCH_KEPT else 1.0

    def _finish(self, steps: _Steps, price: float, budget: float | None) -> None:
        """Take the last steps: onto the budget, or without one if they lower the loss.

        Nobody needs derivatives then.
        """
        if budget is not None:
            price = self._landing_price(steps, budget)
        moved, mean = self._moved(steps, price)
        with torch.no_grad():
            distortion = float(self._window.distortion(moved, mean))
        after = replace(self._state, residuals=moved, distortion=distortion, bits=self._bits(moved))
        if budget is not None or after.loss < self._state.loss:
            self._state = after

    def _at(self, residuals: Tensor) -> _State:
        tables = self._window.tables(residuals)
        mean, distortion, gradient, sensitivity = self._derivatives(residuals)
        bits = self._window.bits(residuals, tables)
        return _State(residuals, mean, distortion, gradient, sensitivity, tables, bits)

    def _bits(self, residuals: Tensor) -> float:
        return self._window.bits(residuals, self._window.tables(residuals))

    def _derivatives(self, residuals: Tensor) -> tuple[Tensor, float, Tensor, Tensor]:
        """Mean, lambda D in bits, and its derivatives by the residuals and by y_hat."""
        with torch.enable_grad():
            variable = residuals.detach().requires_grad_()
            mean = self._window.mean(lambda low: variable[:, : low.shape[1]])
            distortion = self._window.distortion(variable, mean)
            gradient, sensitivity = torch.autograd.grad(distortion, (variable, mean))
        return mean.detach(), float(distortion.detach()), gradient, sensitivity

    def _measure_curvature(self) -> tuple[Tensor, Tensor]:
        """k and h (1, M, h, w): by channel and pass, and where the objective weighs places
        differently, by place.
        """
        movable = self._window.movable.float()
        signs = torch.randint(0, 2, movable.shape, generator=self._random).to(movable.device) * 2 - 1
        signs = signs * movable
        _, _, gradient, _ = self._derivatives(self._state.residuals + CURVATURE_PROBE * signs)
        sample = (gradient - self._state.gradient) * signs / CURVATURE_PROBE
        *looked_at, last = (pass_mask(number, sample) for number in range(len(PASSES)))
        channels = torch.arange(sample.shape[1], device=sample.device)[:, None, None]
        alone = channels >= self._window.transforms.network.context_in_channels
        by_y_hat = _channel_means(sample, movable * (alone | last)).expand_as(sample)
        curvature = by_y_hat
        for places in looked_at:
            of_pass = _channel_means(sample, movable * places).maximum(by_y_hat)
            curvature = torch.where(places & ~alone, of_pass, curvature)
        if not self._by_mse:
            place = (_smooth(sample) / _smooth(curvature * movable).clamp(min=1e-9)).clamp(0.1, 10)
            curvature = curvature * place
            by_y_hat = by_y_hat * place
        return curvature, by_y_hat

    def _steps(self, trust: float) -> _Steps:
        """Weigh the steps of a random part of the movable residuals."""
        state = self._state
        movable = self._window.movable
        drawn = torch.rand(movable.shape, generator=self._random).to(movable.device)
        may = movable & (drawn < STEP_FRACTION)
        gradient = state.gradient[may]
        bend = 0.5 * trust * self._curvature[may]
        residuals = state.residuals[may]
        tables = state.tables[may]
        below, here, above = (
            self._window.code_lengths.under(tables, residuals + step) for step in (-1, 0, 1)
        )
        return _Steps(
            may=may,
            distortion=torch.stack([bend - gradient, bend + gradient]),
            bits=torch.stack([below - here, above - here]),
            tilt=trust * self._curvature_by_y_hat[may],
        )

    def _moved(self, steps: _Steps, price: float) -> tuple[Tensor, Tensor]:
        """Residuals after the steps at this price, pass by pass, and the mean that is with them:
        (1, M, h, w) each.
        """
        state = self._state

        def residual(mean: Tensor) -> Tensor:
            channels = mean.shape[1]
            may = steps.may[:, :channels]
            moved = state.residuals[:, :channels].clone()
            shift = (mean - state.mean[:, :channels])[may]
            stepped = moved[may] + steps.chosen(price, shift)
            moved[may] = stepped.clamp_(-LARGEST_RESIDUAL, LARGEST_RESIDUAL)
            return moved

        with torch.no_grad():
            mean = self._window.mean(residual)
            return residual(mean), mean

    def _price(self, steps: _Steps, aim: float) -> float:
        """Find the lowest price of a bit, by bisection, that keeps the expansion to `aim` bits."""
        low = LOWEST_PRICE
        high = HIGHEST_PRICE
        for _ in range(PRICE_BISECTIONS):
            price = (low * high) ** 0.5
            if self.bits + steps.bits_of(steps.chosen(price)) <= aim:
                high = price
            else:
                low = price
        return high

    def _landing_price(self, steps: _Steps, budget: float) -> float:
        """Find the lowest price at which the steps land within the budget, looking at where they
        land.

        Where they overshoot, it aims lower by the excess and a margin; HIGHEST_PRICE where no try
        lands.
        """
        aim = budget
        lowest = HIGHEST_PRICE
        margin = 0.25 * LANDING_FRACTION * budget
        for _ in range(LANDING_TRIES):
            price = self._price(steps, aim)
            landed = self._bits(self._moved(steps, price)[0])
            if landed <= budget:
                lowest = min(lowest, price)
                if budget - landed <= LANDING_FRACTION * budget:
                    break
            else:
                margin *= 2
            aim -= landed - budget + margin
        return lowest


def _smooth(values: Tensor) -> Tensor:
    """Sum values (1, M, h, w) over the channels and average them over 3x3 places: (1, 1, h, w)."""
    return F.avg_pool2d(values.sum(1, keepdim=True), 3, 1, 1, count_include_pad=False)


def _channel_means(sample: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of every channel of (1, M, h, w), at least 1e-9: (1, M, 1, 1)."""
    total = (sample * weight).sum((2, 3), keepdim=True)
    count = weight.sum((2, 3), keepdim=True).clamp(min=1)
    return (total / count).clamp(min=1e-9)
