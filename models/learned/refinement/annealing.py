"""Annealing: gradient descent on lambda D + price * R by y of one window, through rounding made
soft.

A sigmoid between the two integers around each value stands for rounding (`soften`). Its temperature
falls until it is rounding again. Values far from a threshold keep their integer from the start.
Those near one drift to whichever side suits the picture, many at a time, each seeing what the
others give up. This is the annealing of Yang, Bamler and Mandt, "Improving Inference for Neural
Image Compression" (NeurIPS 2020), without its Gumbel noise, which a few dozen iterations cannot
average out.

Residuals come from y as in the encoder, pass by pass, so a value that moves also moves the means of
those after it. At the end few single steps are left to win: `models.learned.refinement.rdoq` takes
those, and lands on the budget.
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

FIRST_TEMPERATURE = 0.16  # log-linear between the two
LAST_TEMPERATURE = 0.0025
LEARNING_RATE = 0.15  # quantiser steps, over the root of the iterations; by cosine to zero
GRADIENT_MEMORY = 0.9  # Adam's beta_1 and beta_2
SQUARE_MEMORY = 0.95
LARGEST_MOVE = 0.2  # quantiser steps an iteration
LARGEST_START_OFFSET = 0.45  # quantiser steps from its integer: what the dead zone took is further away
# Iterations between two looks at the tables, which the context corrects, and at the budget.
TABLE_INTERVAL = 4
PRICE_EXPONENT = 4.0  # 1 % above the aim makes a bit 4 % dearer
AIM_FRACTION = 1.015  # of the budget: over it, because RDOQ only lands from above
SOFT_MARGIN = 1e-4  # quantiser steps from an integer, up to which the sigmoid is computed


def soften(part: Tensor, temperature: float) -> Tensor:
    """Map the distance of a value to its floor to the share of its ceiling that stands for it.

    (0, 1) to (0, 1), 1/2 to 1/2; a step at temperature 0.
    """
    return torch.sigmoid((torch.atanh(part) - torch.atanh(1 - part)) / temperature)


class Annealing:
    """Moves y from where the window starts; `residuals` are what it rounds to."""

    def __init__(self, window: Window) -> None:
        self._window = window
        network = window.transforms.network
        with torch.no_grad(), window.transforms.autocast():
            y = network.scaled(network.g_a(pad_to_multiple(window.x, STRIDE)).float(), window.anchor)
        mean = window.mean_of(window.start)
        offset = (y - mean - window.start).clamp(-LARGEST_START_OFFSET, LARGEST_START_OFFSET)
        self._y = window.start + offset + mean

    @property
    def residuals(self) -> Tensor:
        """Residuals by now (1, M, h, w), integers."""
        with torch.no_grad():
            return self._rounded(self._window.mean(self._rounded))

    def run(self, iterations: int, budget: float | None, progress: Progress) -> bool:
        """Move y `iterations` times.

        Args:
            iterations: at least 1.
            budget: bits; the price of a bit follows it. None without a budget.
            progress: may end it early.

        Returns:
            False when `progress` ended it early.
        """
        window = self._window
        movable_places = window.movable.sum((2, 3), keepdim=True).clamp(min=1)
        mean = torch.zeros_like(self._y)
        power = torch.zeros_like(self._y)
        price = 1.0
        for done in range(iterations):
            if not progress.advance(done, iterations):
                return False
            if done % max(1, min(TABLE_INTERVAL, iterations // 4)) == 0:
                residuals = self.residuals
                tables = window.tables(residuals)
                if budget:
                    excess = window.bits(residuals, tables) / (AIM_FRACTION * budget) - 1
                    price *= math.exp(PRICE_EXPONENT * excess)
            gradient = self._gradient(tables, _temperature(done, iterations), price)
            # Adam, but half of the mean square is the channel's: alone, what hardly matters would
            # move as fast as what does.
            square = gradient.square()
            of_channel = square.sum((2, 3), keepdim=True) / movable_places
            mean.lerp_(gradient, 1 - GRADIENT_MEMORY)
            power.lerp_((square + of_channel) / 2, 1 - SQUARE_MEMORY)
            move = _learning_rate(done, iterations) * mean / (power.sqrt() + 1e-6)
            self._y -= move.clamp_(-LARGEST_MOVE, LARGEST_MOVE)
        return True

    def _rounded(self, mean: Tensor) -> Tensor:
        """Residuals of the lowest channels (1, C, h, w), for these means of theirs."""
        channels = mean.shape[1]
        residuals = (self._y[:, :channels] - mean).round().clamp_(-LARGEST_RESIDUAL, LARGEST_RESIDUAL)
        return torch.where(self._window.movable[:, :channels], residuals, self._window.start[:, :channels])

    def _gradient(self, tables: Tensor, temperature: float, price: float) -> Tensor:
        """Gradient of the softened lambda D + price * R under these tables, by y (1, M, h, w)."""
        window = self._window
        code_lengths = window.code_lengths
        with torch.enable_grad():
            y = self._y.detach().requires_grad_()

            def softened(mean: Tensor) -> tuple[Tensor, Tensor]:
                """Floor of the residuals, and the share of the ceiling in them."""
                value = (y[:, : mean.shape[1]] - mean).clamp(-LARGEST_RESIDUAL, LARGEST_RESIDUAL - 1)
                low = value.detach().floor()
                return low, soften((value - low).clamp(SOFT_MARGIN, 1 - SOFT_MARGIN), temperature)

            def residual(mean: Tensor) -> Tensor:
                channels = mean.shape[1]
                low, share = softened(mean)
                return torch.where(window.movable[:, :channels], low + share, window.start[:, :channels])

            mean = window.mean(residual)
            low, share = softened(mean)
            dearer = code_lengths.under(tables, low + 1) - code_lengths.under(tables, low)
            rate = (dearer * share * window.movable).sum()
            loss = window.distortion(residual(mean), mean) + price * rate
            (gradient,) = torch.autograd.grad(loss, y)
        return gradient * window.movable


def _temperature(done: int, iterations: int) -> float:
    cooled = done / max(1, iterations - 1)
    return float(FIRST_TEMPERATURE ** (1 - cooled) * LAST_TEMPERATURE**cooled)


def _learning_rate(done: int, iterations: int) -> float:
    """Cosine decay, with Adam's correction for means that start at zero."""
    rate = LEARNING_RATE / math.sqrt(iterations) * 0.5 * (1 + math.cos(math.pi * done / iterations))
    return rate * math.sqrt(1 - SQUARE_MEMORY ** (done + 1)) / (1 - GRADIENT_MEMORY ** (done + 1))
