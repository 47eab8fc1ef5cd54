"""Encoder effort: better symbols for this very picture, at no cost to the decoder.

Rounding y - mean is the best that can be done without looking at the picture that comes out. Here symbols change, by one step at a time,
where that lowers lambda D + R of this picture: R from the tables that the symbols have at the time, D by its second-order expansion

    D(r + e) - D(r) = g e + h e^2 / 2        g: gradient through g_s, h: diagonal of the curvature

with g from one backward pass an iteration and h from one more at the start (along random signs, averaged over each channel: Hutchinson's
estimator). All symbols that promise a gain could step at once, but their effects add up in g_s: a random part of them does, and a trust
region scales h by how well the last promise came true and takes back what made things worse.

A budget is met by the price of a bit: m in lambda D + m R, so that the chosen steps land on it (in a few tries, as every step also changes
its neighbours' tables).

What the mean's context looks at stays: a step there moves the means of up to eight neighbours, whose rounding was for the old ones.

Large pictures are refined window by window, each among the symbols that its neighbours have by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from models.entropy.code_lengths import CodeLengths
from models.entropy.tables import LARGEST_RESIDUAL
from models.grid import HYPER_PIXELS, HYPER_STRIDE, PASSES
from models.model import CodecModel
from models.network.context import pass_mask
from models.objective import Objective
from models.picture import Picture
from models.rate_control import FINEST
from models.symbols import Quantised
from models.tiles import CONTEXT_HALO, Tile
from models.transforms import Transforms

ITERATIONS = (0, 1, 2, 3, 4, 6, 8, 12, 18, 30)  # at effort 0 to 9
HEADROOM = 1.05  # size to start from against the budget
SHARE = 0.6  # of the steps that promise a gain, taken at a time; with all of them, the last step loses what the others won
PROBE = 0.25  # quantiser steps along the random signs that measure the curvature
PRICES = (0.05, 50.0)  # of a bit, at the extremes
TRIES, CLOSE = 5, 0.001  # how often the last step may aim anew, and how little under the budget is close enough
WINDOW = 16  # hyper-latents on a side, 1024 pixels: about 1 GB of activations for the backward pass

Proceed = Callable[[int, int], bool]
"""Told how many of how many iterations are done; says whether to go on or to finish with the next."""


def share(proceed: Proceed | None, number: int, of: int) -> Proceed:
    """For part `number` of `of` equal ones: tells `proceed` how far the whole is."""
    return lambda done, iterations: proceed is None or proceed(number * iterations + done, of * iterations)


class Refiner:
    """Refines what the encoder found, with one model."""

    def __init__(self, model: CodecModel, objective: Objective, transforms: Transforms) -> None:
        self._objective = objective
        self._transforms = transforms
        self._code_lengths = CodeLengths(model.tables, model.neighbours, transforms.device)

    def refine(self, picture: Picture, quantised: Quantised, *, iterations: int, proceed: Proceed | None = None) -> Quantised:
        """The same picture in symbols that cost less, look better, or both; within the budget, if it has one and they can.

        Args:
            picture: the original.
            quantised: to start from; with a budget, best about HEADROOM larger than it.
            iterations: backward passes a window, apart from the one for the curvature; at least 1.
            proceed: see `Proceed`.
        """
        symbols = quantised.symbols
        _, rows, columns = symbols.residuals.shape
        tiles = list(self._transforms.tiles(rows, columns, WINDOW, CONTEXT_HALO))
        residuals = symbols.residuals.copy()
        before = self._bits(quantised.indices, residuals)
        windows_before = self._movable_bits(quantised.indices, residuals, tiles)
        movable = max(1.0, sum(windows_before))
        scale = None if quantised.budget is None else max(0.0, 1 + 8 * (quantised.budget - quantised.predicted) / movable)
        random = torch.Generator().manual_seed(0)
        spent = due = 0.0  # bits that the windows behind us have, and were to have
        for number, (tile, bits) in enumerate(zip(tiles, windows_before, strict=True)):
            budget = None
            if scale is not None:
                due += scale * bits
                budget = max(0.0, due - spent)
            descent = _Descent(self._window(picture, quantised, residuals, tile), random)
            descent.run(iterations, budget, share(proceed, number, len(tiles)))
            spent += descent.state.bits
            residuals[:, *tile.outer(HYPER_STRIDE)] = descent.state.residuals[0].to(torch.int16).cpu().numpy()
        saved = before - self._bits(quantised.indices, residuals)
        return replace(quantised, symbols=replace(symbols, residuals=residuals), predicted=quantised.predicted - saved / 8)

    def _bits(self, indices: NDArray[np.uint8], residuals: NDArray[np.int16]) -> float:
        """Code length of all residuals."""
        device = self._transforms.device
        return float(self._code_lengths.of_residuals(*(torch.from_numpy(values)[None].to(device) for values in (indices, residuals))))

    def _movable_bits(self, indices: NDArray[np.uint8], residuals: NDArray[np.int16], tiles: Sequence[Tile]) -> list[float]:
        """Code length of what may move, window by window."""
        table, value = (torch.from_numpy(values)[None].to(self._transforms.device) for values in (indices, residuals))
        corrected, movable = self._code_lengths.corrected(table, value), (table > 0) & self._alone(table)
        places = [tile.inner(HYPER_STRIDE) for tile in tiles]
        return [
            float(self._code_lengths.under(corrected[..., *at][movable[..., *at]], value[..., *at][movable[..., *at]]).double().sum())
            for at in places
        ]

    def _alone(self, indices: Tensor) -> Tensor:
        """Where residuals change no other's mean: those of the last pass, and of channels that the mean's context does not look at."""
        alone = torch.ones_like(indices, dtype=torch.bool)
        for number in range(len(PASSES) - 1):
            alone[:, : self._transforms.network.seen] &= ~pass_mask(number, indices)
        return alone

    def _window(self, picture: Picture, quantised: Quantised, residuals: NDArray[np.int16], tile: Tile) -> _Window:
        symbols, device = quantised.symbols, self._transforms.device
        outer = tile.outer(HYPER_STRIDE)
        start = torch.from_numpy(residuals[None, :, *outer]).to(device).float()
        indices = torch.from_numpy(quantised.indices[None, :, *outer]).to(device)
        movable = torch.zeros_like(indices, dtype=torch.bool)
        movable[..., *tile.within(HYPER_STRIDE)] = True
        z = torch.from_numpy(symbols.z[None, :, *tile.outer()]).to(device).float()
        quality = self._transforms.quality([symbols.quality])
        with torch.no_grad():
            mean = self._transforms.mean(z, quality, start, lambda low: start[:, : low.shape[1]])
        return _Window(
            transforms=self._transforms,
            objective=self._objective,
            code_lengths=self._code_lengths,
            lmbda=float(self._objective.lmbda(torch.tensor(symbols.quality / FINEST))),
            x=torch.from_numpy(picture.rgb[tile.outer(HYPER_PIXELS)]).to(device).permute(2, 0, 1)[None].float() / 255,
            start=start,
            indices=indices,
            movable=movable & (indices > 0) & self._alone(indices),
            mean=mean,
            quality=quality,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """What stays fixed while the residuals of a part of the picture are refined.

    Attributes:
        transforms, objective: of the model.
        code_lengths: of the model's tables.
        lmbda: weight of D against R in bits per pixel.
        x: the pixels (1, 3, H, W) in [0, 1], not padded.
        start: residuals to start from (1, M, h, w), integers.
        indices: table of every residual by the scale decoder.
        movable: which of them may change: those of the window proper, not those around it, not those under table 0, and those alone.
        mean: prediction of scaled y.
        quality: position on the network's axis (1,).
    """

    transforms: Transforms
    objective: Objective
    code_lengths: CodeLengths
    lmbda: float
    x: Tensor
    start: Tensor
    indices: Tensor
    movable: Tensor
    mean: Tensor
    quality: Tensor

    def tables(self, residuals: Tensor) -> Tensor:
        """Table of every movable residual (n,), as its neighbours correct it."""
        return self.code_lengths.corrected(self.indices, residuals)[self.movable]

    def bits(self, residuals: Tensor, tables: Tensor) -> Tensor:
        """Code length of every movable residual (n,) under its table."""
        return self.code_lengths.under(tables, residuals[self.movable])

    def distortion(self, residuals: Tensor) -> Tensor:
        """Lambda D in bits."""
        height, width = self.x.shape[-2:]
        with self.transforms.autocast():
            x_hat = self.transforms.network.reconstruct(residuals, self.mean, self.quality)[..., :height, :width]
        return self.objective.measure(x_hat, self.x).sum() * (self.lmbda * height * width)


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    residuals: Tensor
    distortion: float  # lambda D in bits
    gradient: Tensor  # of it
    tables: Tensor  # of the movable residuals
    bits: float  # of them


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """What one step down or up would change, for the movable residuals (2, n): distortion by the expansion, and bits."""

    distortion: Tensor
    bits: Tensor

    def chosen(self, price: float) -> Tensor:
        """-1, 0 or 1 (n,): the step that lowers distortion + price * bits most, if any."""
        gain = self.distortion + price * self.bits
        down, up = gain
        return torch.where(torch.minimum(down, up) < 0, torch.where(down < up, -1, 1), 0)

    def total(self, chosen: Tensor) -> tuple[float, float]:
        """Distortion and bits that the chosen steps promise."""
        taken = torch.stack([chosen < 0, chosen > 0])
        return float((self.distortion * taken).double().sum()), float((self.bits * taken).double().sum())


class _Descent:
    """Coordinate descent on the movable residuals of one window."""

    def __init__(self, window: _Window, random: torch.Generator) -> None:
        self._window = window
        self._movable = window.movable
        self._count = int(window.movable.sum())
        self._random = random
        self.state = self._at(window.start)
        self._curvature = self._measure_curvature()

    def run(self, iterations: int, budget: float | None, proceed: Proceed) -> None:
        """Descend; with a budget, the second half of the iterations and in any case the last aim at it."""
        trust = 1.0 if self._window.objective.distortion == "mse" else 1.5
        price = 1.0
        for done in range(iterations):
            last = done == iterations - 1 or not proceed(done, iterations)
            steps = self._steps(trust)
            taking = torch.rand(self._count, generator=self._random).to(self.state.residuals.device) < SHARE
            if budget is not None and (last or 2 * done >= iterations):
                price = self._price(steps, taking, budget, tries=TRIES if last else 1)
            chosen = steps.chosen(price) * taking
            before = self.state
            moved = self._moved(chosen)
            if last:
                self.state = replace(before, residuals=moved, bits=self._bits(moved))  # nobody needs the rest
                break
            after = self._at(moved)
            promised = -sum(a * b for a, b in zip((1, price), steps.total(chosen), strict=True))
            kept = (before.distortion - after.distortion + price * (before.bits - after.bits)) / max(promised, 1e-9)
            if kept > 0:
                self.state = after
            trust *= 1.6 if kept <= 0 else 1.2 if kept < 0.35 else 0.87 if kept > 0.6 else 1.0
        proceed(iterations, iterations)

    def _moved(self, chosen: Tensor) -> Tensor:
        moved = self.state.residuals.clone()
        moved[self._movable] = (moved[self._movable] + chosen).clamp_(-LARGEST_RESIDUAL, LARGEST_RESIDUAL)
        return moved

    def _bits(self, residuals: Tensor) -> float:
        return float(self._window.bits(residuals, self._window.tables(residuals)).double().sum())

    def _gradient(self, residuals: Tensor) -> tuple[float, Tensor]:
        with torch.enable_grad():
            variable = residuals.detach().requires_grad_()
            distortion = self._window.distortion(variable)
            (gradient,) = torch.autograd.grad(distortion, variable)
        return float(distortion.detach()), gradient

    def _at(self, residuals: Tensor) -> _State:
        tables = self._window.tables(residuals)
        return _State(residuals, *self._gradient(residuals), tables, float(self._window.bits(residuals, tables).double().sum()))

    def _measure_curvature(self) -> Tensor:
        """h of the movable residuals (n,): per channel, and where the objective weighs places differently, by place."""
        movable = self._movable.float()
        signs = (torch.randint(0, 2, movable.shape, generator=self._random).to(movable.device) * 2 - 1) * movable
        _, gradient = self._gradient(self.state.residuals + PROBE * signs)
        sample = (gradient - self.state.gradient) * signs / PROBE
        curvature = (sample.sum((2, 3), keepdim=True) / movable.sum((2, 3), keepdim=True).clamp(min=1)).clamp(min=1e-9)
        curvature = curvature.expand_as(sample)
        if self._window.objective.distortion != "mse":
            place = _smooth(sample) / _smooth(curvature * movable).clamp(min=1e-9)
            curvature = curvature * place.clamp(0.1, 10)
        return curvature[self._movable]

    def _steps(self, trust: float) -> _Steps:
        residuals, gradient = self.state.residuals, self.state.gradient[self._movable]
        bits = [self._window.bits(residuals + step, self.state.tables) for step in (-1, 0, 1)]
        bend = 0.5 * trust * self._curvature
        return _Steps(torch.stack([bend - gradient, bend + gradient]), torch.stack([bits[0] - bits[1], bits[2] - bits[1]]))

    def _price(self, steps: _Steps, taking: Tensor, budget: float, tries: int) -> float:
        """The lowest price of a bit, by bisection, at which the steps land within the budget."""
        aim = budget
        for left in range(tries - 1, -1, -1):
            low, high = PRICES
            for _ in range(24):
                price = (low * high) ** 0.5
                fits = self.state.bits + steps.total(steps.chosen(price) * taking)[1] <= aim
                low, high = (low, price) if fits else (price, high)
            if left:
                landed = self._bits(self._moved(steps.chosen(high) * taking))
                if 0 <= budget - landed <= CLOSE * budget:
                    break
                aim -= landed - budget + 0.25 * CLOSE * budget
        return high


def _smooth(values: Tensor) -> Tensor:
    """Sum over the channels, averaged over 3x3 places: (1, 1, h, w)."""
    return F.avg_pool2d(values.sum(1, keepdim=True), 3, 1, 1, count_include_pad=False)
