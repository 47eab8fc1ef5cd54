"""Encoder effort: better symbols for this very picture, at no cost to the decoder.

Rounding y - mean is the best that can be done without looking at the picture that comes out. Here symbols change where that lowers
lambda D + R of this picture: first through y (`models.learned.refinement.annealing`), then by single steps (`models.learned.refinement.rdoq`). z stays as it is, and so do
the tables that the scale decoder chose. D is of the picture after the post-processor, where symbols recommend it: what that mends by
itself need not be paid for in bits.

Large pictures are refined window by window, each among the symbols that its neighbours have by then. What a window's steps do to the means
around it they do to the picture around it, where the window looks too: means are never stored, only computed from the symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.entropy.code_lengths import CodeLengths
from models.grid import HYPER_PIXELS, HYPER_STRIDE
from models.learned.model import CodecModel
from models.learned.objective import Distortion, Objective
from models.learned.refinement.annealing import Relaxation
from models.learned.refinement.rdoq import Descent
from models.learned.refinement.window import Proceed as Proceed  # part of this interface
from models.learned.refinement.window import Window
from models.learned.symbols import Quantised, Symbols
from models.learned.transforms import Transforms
from models.picture import Picture
from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import Source
from models.rate_control import FINEST
from models.tiles import CONTEXT_HALO, Tile

ITERATIONS = (0, 1, 2, 3, 4, 6, 8, 12, 18, 30)  # at effort 0 to 9
RELAXED_FROM: dict[Distortion, int] = {"mse": 8, "ms-ssim": 6}  # iterations: with fewer, descent alone goes further
RELAXED_HEADROOM = 0.97  # size to relax from, against the budget: bits that relaxation adds are worth more than finer steps
WINDOW = 16  # hyper-latents on a side, 1024 pixels: 1.0 (`psnr`) or 1.4 GB of activations for the backward pass


def share(proceed: Proceed | None, number: int, of: int) -> Proceed:
    """For part `number` of `of` equal ones: tells `proceed` how far the whole is."""
    return lambda done, iterations: proceed is None or proceed(number * iterations + done, of * iterations)


def headroom(iterations: int, distortion: Distortion) -> float:
    """How large against the budget, for so many of them to start from."""
    return RELAXED_HEADROOM if iterations >= RELAXED_FROM[distortion] else 1.0


def _refined(window: Window, bits: float, iterations: int, budget: float | None, proceed: Proceed) -> tuple[Tensor, float]:
    """Residuals (1, M, h, w), integers, and their code length in bits, which is `bits` where the window starts.

    Few iterations can make matters worse, on their way to the budget: then the window stays as it was, if it was within.
    """
    start, loss, left = window.start, None, iterations
    if iterations >= RELAXED_FROM[window.objective.distortion]:
        left = max(2, iterations // 4)
        relaxation = Relaxation(window)
        if not relaxation.run(iterations - left, budget, lambda done, _: proceed(done, iterations)):
            left = 1
        relaxed, loss = relaxation.residuals, window.loss(start)
        if window.loss(relaxed) < loss:
            window = replace(window, start=relaxed)
    descent = Descent(window, torch.Generator().manual_seed(0))
    loss = descent.loss if loss is None else loss
    descent.run(left, budget, lambda done, _: proceed(iterations - left + done, iterations))
    if descent.loss >= loss and (budget is None or bits <= budget):
        return start, bits
    return descent.residuals, descent.bits


class Refiner:
    """Refines what the encoder found, with one model and its post-processor."""

    def __init__(self, model: CodecModel, objective: Objective, transforms: Transforms, post_processor: PostProcessor | None) -> None:
        self._model_id = model.model_id
        self._objective = objective
        self._post_processor = post_processor
        self._transforms = transforms
        self._code_lengths = CodeLengths(model.tables, model.neighbours, transforms.device)

    def refine(self, picture: Picture, quantised: Quantised, *, iterations: int, proceed: Proceed | None = None) -> Quantised:
        """The same picture in symbols that cost less, look better, or both; within the budget, if it has one and they can.

        Args:
            picture: the original.
            quantised: to start from; with a budget, best one `headroom` times as large.
            iterations: backward passes a window, apart from the one for the curvature; at least 1.
            proceed: see `Proceed`.
        """
        symbols = quantised.symbols
        _, rows, columns = symbols.residuals.shape
        tiles = list(self._transforms.tiles(rows, columns, WINDOW, CONTEXT_HALO))
        residuals = symbols.residuals.copy()
        parts = self._bits(quantised, tiles)
        surplus = 0.0 if quantised.budget is None else max(-1.0, 8 * (quantised.budget - quantised.predicted) / max(1.0, sum(parts)))
        changed = due = 0.0  # by how many bits the windows behind us have changed the whole, and were to
        for number, (tile, bits) in enumerate(zip(tiles, parts, strict=True)):
            window = self._window(picture, quantised, residuals, tile)
            before = window.bits(window.start, window.tables(window.start))
            due += surplus * bits
            budget = None if quantised.budget is None else max(0.0, before + due - changed)
            refined, after = _refined(window, before, iterations, budget, share(proceed, number, len(tiles)))
            changed += after - before
            residuals[:, *tile.outer(HYPER_STRIDE)] = refined[0].to(torch.int16).cpu().numpy()
        return replace(quantised, symbols=replace(symbols, residuals=residuals), predicted=quantised.predicted + changed / 8)

    def _bits(self, quantised: Quantised, tiles: Sequence[Tile]) -> list[float]:
        """Code length of the residuals, window by window."""
        device = self._transforms.device
        indices, residuals = (torch.from_numpy(part)[None].to(device) for part in (quantised.indices, quantised.symbols.residuals))
        tables = self._code_lengths.corrected(indices, residuals)
        places = (tile.inner(HYPER_STRIDE) for tile in tiles)
        return [float(self._code_lengths.under(tables[..., *at], residuals[..., *at]).double().sum()) for at in places]

    def _window(self, picture: Picture, quantised: Quantised, residuals: NDArray[np.int16], tile: Tile) -> Window:
        symbols, device = quantised.symbols, self._transforms.device
        outer = tile.outer(HYPER_STRIDE)
        start = torch.from_numpy(residuals[None, :, *outer]).to(device).float()
        indices = torch.from_numpy(quantised.indices[None, :, *outer]).to(device)
        movable = torch.zeros_like(indices, dtype=torch.bool)
        movable[..., *tile.within(HYPER_STRIDE)] = True
        z = torch.from_numpy(symbols.z[None, :, *tile.outer()]).to(device).float()
        quality = self._transforms.quality([symbols.quality])
        with torch.no_grad(), self._transforms.autocast():
            mean = self._transforms.network.mean(z, *start.shape[-2:])
        return Window(
            transforms=self._transforms,
            objective=self._objective,
            code_lengths=self._code_lengths,
            lmbda=float(self._objective.lmbda(torch.tensor(symbols.quality / FINEST))),
            x=torch.from_numpy(picture.rgb[tile.outer(HYPER_PIXELS)]).to(device).permute(2, 0, 1)[None].float() / 255,
            start=start,
            indices=indices,
            movable=movable & (indices > 0),
            z_mean=mean,
            quality=quality,
            postprocess=self._postprocess(symbols),
        )

    def _postprocess(self, symbols: Symbols) -> Callable[[Tensor], Tensor]:
        if not symbols.postprocess or self._post_processor is None:
            return lambda x_hat: x_hat
        return partial(self._post_processor, source=Source.learned(self._model_id, symbols.quality))
