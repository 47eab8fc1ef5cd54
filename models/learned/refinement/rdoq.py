"""Coordinate descent on the residuals of one window of a picture: steps of the integers that lower lambda D + price * R.

The stream says residuals; y_hat = r + mean, where a residual changes its own y_hat by its step and, through the mean's context, that of
up to eight neighbours in later passes. So a step is judged by what it does to the picture through all of them, and the passes step
one after the other: those that follow see how far the steps before moved their means, and answer. With d the distance that a mean has
moved so far,

    D(r + e) - D(r) = (g + h d) e + k e^2 / 2

    g       gradient through g_s and the means of others, from one backward pass an iteration
    k, h    diagonals of the curvature, by the residuals (as for g) and by y_hat, from one more at the start: along random signs, averaged
            over each channel and pass (Hutchinson's estimator); where no mean looks at a residual, they are the same

R is from the tables that the symbols have at the time. All residuals that promise a gain could step at once, but their effects add up in
g_s: a random part of them does, and a trust region scales k and h by how well the last promise came true and takes back what made
things worse.

A budget is met by the price of a bit, so that the chosen steps land on it (in a few tries, as every step also changes its neighbours'
means and tables).
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

SHARE = 0.4  # of the steps that promise a gain, taken at a time; with more, the steps lose what each of them won
PROBE = 0.25  # quantiser steps along the random signs that measure the curvature
PRICES = (0.05, 50.0)  # of a bit, at the extremes
TRIES, CLOSE = 8, 0.001  # how often the last step may aim anew, and how little under the budget is close enough


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    residuals: Tensor
    mean: Tensor  # of scaled y, with these residuals
    distortion: float  # lambda D in bits
    gradient: Tensor  # of it by the residuals, through the means too
    sensitivity: Tensor  # of it by y_hat
    tables: Tensor
    bits: float  # of all residuals

    @property
    def loss(self) -> float:
        """Lambda D + R in bits."""
        return self.distortion + self.bits


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """One step down or up of the residuals that may take it, in the order of `may`.

    Attributes:
        may: which ones (1, M, h, w).
        distortion: by the expansion, while their means stay (2, n).
        bits: by the tables of the time (2, n).
        tilt: what a step up gains or loses more for each step that its mean has moved: h (n,).
    """

    may: Tensor
    distortion: Tensor
    bits: Tensor
    tilt: Tensor

    def chosen(self, price: float, shift: Tensor | None = None) -> Tensor:
        """-1, 0 or 1: the step that lowers distortion + price * bits most, if any (n,).

        With `shift`, how far the means of the first ones have moved, only theirs.
        """
        gain = self.distortion + price * self.bits
        if shift is not None:
            tilted = self.tilt[: len(shift)] * shift
            gain = gain[:, : len(shift)] + torch.stack([-tilted, tilted])
        down, up = gain
        return torch.where(torch.minimum(down, up) < 0, torch.where(down < up, -1, 1), 0)

    def bits_of(self, chosen: Tensor) -> float:
        """What the chosen steps add."""
        return float((self.bits * torch.stack([chosen < 0, chosen > 0])).double().sum())


class Rdoq:
    """Descends from where the window starts; `residuals` and `bits` say how far it has come."""

    def __init__(self, window: Window, random: torch.Generator) -> None:
        self._window = window
        self._random = random
        self._state = self._at(window.start)
        self._curvature, self._curvature_by_y_hat = self._measure_curvature()

    @property
    def residuals(self) -> Tensor:
        """(1, M, h, w), integers."""
        return self._state.residuals

    @property
    def bits(self) -> float:
        """Code length of all residuals in the window and around it."""
        return self._state.bits

    @property
    def loss(self) -> float:
        """Lambda D + R of them, in bits."""
        return self._state.loss

    def run(self, iterations: int, budget: float | None, progress: Progress) -> None:
        """Descend; with a budget in bits every iteration aims at it, and the last makes sure of it."""
        trust = 1.0 if self._window.objective.distortion == "mse" else 1.5
        price = 1.0
        for done in range(iterations):
            last = done == iterations - 1 or not progress.advance(done, iterations)
            before, steps = self._state, self._steps(trust)
            if budget is not None:
                price = self._price(steps, budget, tries=TRIES if last else 1)
            moved, mean = self._moved(steps, price)
            if last:
                after = replace(before, residuals=moved, distortion=self._distortion(moved, mean), bits=self._bits(moved))
                if budget is not None or after.loss < before.loss:
                    self._state = after  # nobody needs the rest of it
                break
            after = self._at(moved)
            change = moved - before.residuals + mean - before.mean  # of y_hat
            promised = -float((before.sensitivity * change + 0.5 * trust * self._curvature_by_y_hat * change.square()).double().sum())
            saved = price * (before.bits - after.bits)
            kept = (before.distortion - after.distortion + saved) / max(promised + saved, 1e-9)
            if kept > 0:
                self._state = after
            trust *= 1.6 if kept <= 0 else 1.2 if kept < 0.35 else 0.87 if kept > 0.6 else 1.0
        progress.advance(iterations, iterations)

    def _at(self, residuals: Tensor) -> _State:
        tables = self._window.tables(residuals)
        return _State(residuals, *self._derivatives(residuals), tables, self._window.bits(residuals, tables))

    def _bits(self, residuals: Tensor) -> float:
        return self._window.bits(residuals, self._window.tables(residuals))

    def _distortion(self, residuals: Tensor, mean: Tensor) -> float:
        with torch.no_grad():
            return float(self._window.distortion(residuals, mean))

    def _derivatives(self, residuals: Tensor) -> tuple[Tensor, float, Tensor, Tensor]:
        """Mean, lambda D, and its derivatives by the residuals and by y_hat."""
        with torch.enable_grad():
            variable = residuals.detach().requires_grad_()
            mean = self._window.mean(lambda low: variable[:, : low.shape[1]])
            distortion = self._window.distortion(variable, mean)
            gradient, sensitivity = torch.autograd.grad(distortion, (variable, mean))
        return mean.detach(), float(distortion.detach()), gradient, sensitivity

    def _measure_curvature(self) -> tuple[Tensor, Tensor]:
        """k and h (1, M, h, w): by channel and pass, and where the objective weighs places differently, by place."""
        movable = self._window.movable.float()
        signs = (torch.randint(0, 2, movable.shape, generator=self._random).to(movable.device) * 2 - 1) * movable
        _, _, gradient, _ = self._derivatives(self._state.residuals + PROBE * signs)
        sample = (gradient - self._state.gradient) * signs / PROBE
        *looked_at, last = (pass_mask(number, sample) for number in range(len(PASSES)))
        alone = torch.arange(sample.shape[1], device=sample.device)[:, None, None] >= self._window.transforms.network.context_in_channels
        by_y_hat = _average(sample, movable * (alone | last)).expand_as(sample)
        curvature = by_y_hat
        for places in looked_at:
            curvature = torch.where(places & ~alone, _average(sample, movable * places).maximum(by_y_hat), curvature)
        if self._window.objective.distortion != "mse":
            place = (_smooth(sample) / _smooth(curvature * movable).clamp(min=1e-9)).clamp(0.1, 10)
            curvature, by_y_hat = curvature * place, by_y_hat * place
        return curvature, by_y_hat

    def _steps(self, trust: float) -> _Steps:
        """A random share of all."""
        state, movable = self._state, self._window.movable
        may = movable & (torch.rand(movable.shape, generator=self._random).to(movable.device) < SHARE)
        gradient, bend = state.gradient[may], 0.5 * trust * self._curvature[may]
        residuals, tables = state.residuals[may], state.tables[may]
        bits = [self._window.code_lengths.under(tables, residuals + step) for step in (-1, 0, 1)]
        return _Steps(
            may=may,
            distortion=torch.stack([bend - gradient, bend + gradient]),
            bits=torch.stack([bits[0] - bits[1], bits[2] - bits[1]]),
            tilt=trust * self._curvature_by_y_hat[may],
        )

    def _moved(self, steps: _Steps, price: float) -> tuple[Tensor, Tensor]:
        """The residuals after the steps at this price, pass by pass, and the mean that is with them."""
        state = self._state

        def residual(mean: Tensor) -> Tensor:
            may = steps.may[:, : mean.shape[1]]
            moved = state.residuals[:, : mean.shape[1]].clone()
            shift = (mean - state.mean[:, : mean.shape[1]])[may]
            moved[may] = (moved[may] + steps.chosen(price, shift)).clamp_(-LARGEST_RESIDUAL, LARGEST_RESIDUAL)
            return moved

        with torch.no_grad():
            mean = self._window.mean(residual)
            return residual(mean), mean

    def _price(self, steps: _Steps, budget: float, tries: int) -> float:
        """The lowest price of a bit, by bisection, at which the steps land within the budget; the highest where none does."""
        aim, lowest, margin = budget, PRICES[1], 0.25 * CLOSE * budget
        for _ in range(tries):
            low, high = PRICES
            for _ in range(24):
                price = (low * high) ** 0.5
                fits = self.bits + steps.bits_of(steps.chosen(price)) <= aim
                low, high = (low, price) if fits else (price, high)
            if tries == 1:
                return high  # a step that is looked at before it counts
            landed = self._bits(self._moved(steps, high)[0])
            if landed <= budget:
                lowest = min(lowest, high)
                if budget - landed <= CLOSE * budget:
                    break
            else:
                margin *= 2
            aim -= landed - budget + margin
        return lowest


def _smooth(values: Tensor) -> Tensor:
    """Sum over the channels, averaged over 3x3 places: (1, 1, h, w)."""
    return F.avg_pool2d(values.sum(1, keepdim=True), 3, 1, 1, count_include_pad=False)


def _average(sample: Tensor, weight: Tensor) -> Tensor:
    """Of each channel (1, M, 1, 1), above 0."""
    return ((sample * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1)).clamp(min=1e-9)
