"""Gradient descent on lambda D + price * R by y of one window of a picture, through rounding made soft.

For rounding stands a sigmoid between the two integers around each value (`soften`), whose temperature falls until it is rounding again.
Values far from a threshold keep their integer from the start; those near one drift to whichever side suits the picture, many at a time,
each seeing what the others give up. This is the annealing of Yang, Bamler and Mandt, "Improving Inference for Neural Image Compression"
(NeurIPS 2020), without its Gumbel noise, which a few dozen iterations cannot average out.

Residuals come from y as in the encoder, pass by pass, so a value that moves also moves the means of those after it. Where it ends, few
single steps are left to win: `models.learned.refinement.rdoq` takes those, and lands on the budget.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.entropy.tables import LARGEST_RESIDUAL
from models.grid import STRIDE
from models.learned.refinement.window import Window
from models.network.autoencoder import pad_to_multiple
from models.progress import Progress

TEMPERATURES = 0.16, 0.0025  # the first and the last; log-linear between them
RATE = 0.15  # of learning, in quantiser steps, over the root of the iterations; by cosine to zero
MOMENTUM, MEMORY = 0.9, 0.95  # of the gradient's mean and of its mean square
LARGEST_MOVE = 0.2  # quantiser steps an iteration
REACH = 0.45  # from its integer, where a value may start: what the dead zone took is further away
RECKON = 4  # iterations between two looks at the tables, which the neighbours' residuals correct, and at the budget
PULL, AIM = 4.0, 1.015  # 1 % above the aim makes a bit 4 % dearer; the aim is over the budget, as descent only lands from above
INSIDE = 1e-4  # how near to an integer the sigmoid is still computed


def soften(part: Tensor, temperature: float) -> Tensor:
    """What share of its ceiling stands for a value so far above its floor: (0, 1) to (0, 1), 1/2 to 1/2, a step at temperature 0."""
    return torch.sigmoid((torch.atanh(part) - torch.atanh(1 - part)) / temperature)


class Annealing:
    """Moves y from where the window starts; `residuals` are what it rounds to."""

    def __init__(self, window: Window) -> None:
        self._window = window
        with torch.no_grad(), window.transforms.autocast():
            y = window.transforms.network.g_a(pad_to_multiple(window.x, STRIDE)).float()
            y = window.transforms.network.scaled(y, window.anchor)
        mean = window.mean_of(window.start)
        self._y = window.start + (y - mean - window.start).clamp(-REACH, REACH) + mean

    @property
    def residuals(self) -> Tensor:
        """(1, M, h, w), integers."""
        with torch.no_grad():
            return self._rounded(self._window.mean(self._rounded))

    def run(self, iterations: int, budget: float | None, progress: Progress) -> bool:
        """Move y; with a budget in bits, the price of a bit follows it. False if `progress` ended that early."""
        window = self._window
        count = window.movable.sum((2, 3), keepdim=True).clamp(min=1)
        mean, power = torch.zeros_like(self._y), torch.zeros_like(self._y)
        price = 1.0
        for done in range(iterations):
            if not progress.advance(done, iterations):
                return False
            if done % max(1, min(RECKON, iterations // 4)) == 0:
                residuals = self.residuals
                tables = window.tables(residuals)
                if budget:
                    price *= math.exp(PULL * (window.bits(residuals, tables) / (AIM * budget) - 1))
            cooled = done / max(1, iterations - 1)
            gradient = self._gradient(tables, TEMPERATURES[0] ** (1 - cooled) * TEMPERATURES[1] ** cooled, price)
            # Adam, but half of the mean square is the channel's: alone, what hardly matters would move as fast as what does.
            square = gradient.square()
            mean.lerp_(gradient, 1 - MOMENTUM)
            power.lerp_((square + square.sum((2, 3), keepdim=True) / count) / 2, 1 - MEMORY)
            rate = RATE / math.sqrt(iterations) * 0.5 * (1 + math.cos(math.pi * done / iterations))
            rate *= math.sqrt(1 - MEMORY ** (done + 1)) / (1 - MOMENTUM ** (done + 1))
            self._y -= (rate * mean / (power.sqrt() + 1e-6)).clamp_(-LARGEST_MOVE, LARGEST_MOVE)
        return True

    def _rounded(self, mean: Tensor) -> Tensor:
        """Residuals of the lowest channels, for these means of theirs."""
        channels = mean.shape[1]
        r = (self._y[:, :channels] - mean).round().clamp_(-LARGEST_RESIDUAL, LARGEST_RESIDUAL)
        return torch.where(self._window.movable[:, :channels], r, self._window.start[:, :channels])

    def _gradient(self, tables: Tensor, temperature: float, price: float) -> Tensor:
        """Of the relaxed lambda D + price * R under these tables, by y."""
        window, code_lengths = self._window, self._window.code_lengths
        with torch.enable_grad():
            y = self._y.detach().requires_grad_()

            def relaxed(mean: Tensor) -> tuple[Tensor, Tensor]:
                """Floor of the residuals, and the share of the ceiling in them."""
                value = (y[:, : mean.shape[1]] - mean).clamp(-LARGEST_RESIDUAL, LARGEST_RESIDUAL - 1)
                low = value.detach().floor()
                return low, soften((value - low).clamp(INSIDE, 1 - INSIDE), temperature)

            def residual(mean: Tensor) -> Tensor:
                low, share = relaxed(mean)
                return torch.where(window.movable[:, : mean.shape[1]], low + share, window.start[:, : mean.shape[1]])

            mean = window.mean(residual)
            low, share = relaxed(mean)
            dearer = code_lengths.under(tables, low + 1) - code_lengths.under(tables, low)
            loss = window.distortion(residual(mean), mean) + price * (dearer * share * window.movable).sum()
            (gradient,) = torch.autograd.grad(loss, y)
        return gradient * window.movable
