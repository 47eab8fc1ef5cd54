"""Encoder effort: better symbols for one picture, at no cost to the decoder.

Rounding y - mean is the best that can be done without looking at the picture that comes out. Here
symbols change where that lowers lambda D + R of this picture: first through y (`annealing`), then
by single steps (`rdoq`). z stays as it is, and so do the tables that the scale decoder chose. D is
of the picture after the post-processor, where the symbols recommend it: bits need not pay for what
that mends by itself.

Large pictures are refined window by window, each among the symbols that its neighbours have by
then. The steps of a window change the means around it, and so the picture around it, where the
window looks too: means are never stored, only computed from the symbols.
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
from models.grid import CONTEXT_HALO, HYPER_PIXELS, HYPER_STRIDE, Tile
from models.learned.model import CodecModel
from models.learned.objective import Distortion, Objective
from models.learned.refinement.annealing import Annealing
from models.learned.refinement.rdoq import Rdoq
from models.learned.refinement.window import Window
from models.learned.symbols import Quantised, Symbols
from models.learned.transforms import Transforms
from models.picture import Picture
from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import Source
from models.progress import PartOf, Progress, Stretch, with_pauses
from models.tensors import to_batch

ITERATIONS = (0, 1, 2, 3, 4, 6, 8, 12, 18, 30)  # at effort 0 to 9
ANNEALED_FROM: dict[Distortion, int] = {
    "mse": 8,
    "ms-ssim": 6,
    "visual": 6,
}  # iterations: with fewer, RDOQ alone goes further
# Of the budget, to anneal from: bits that annealing adds are worth more than finer steps.
ANNEALED_TARGET_FRACTION = 0.97
WINDOW_SIDE = 16  # hyper-latents, 1024 pixels: 1.0 (`psnr`) or 1.4 GB of activations for the backward pass


def anneals(iterations: int, distortion: Distortion) -> bool:
    """Say whether so many iterations begin with annealing."""
    return iterations >= ANNEALED_FROM[distortion]


def target_fraction(iterations: int, distortion: Distortion) -> float:
    """The share of the budget that a picture should have to start from, for so many iterations."""
    return ANNEALED_TARGET_FRACTION if anneals(iterations, distortion) else 1.0


def _refined(
    window: Window, bits: float, iterations: int, budget: float | None, progress: Progress
) -> tuple[Tensor, float]:
    """Refine one window.

    Few iterations can make matters worse, on their way to the budget: then the window stays as it
    was, if it was within.

    Args:
        window: what to refine.
        bits: code length of its residuals.
        iterations: at least 1.
        budget: bits that they may have; None without a budget.
        progress: of this window.

    Returns:
        Residuals (1, M, h, w), integers, and their code length in bits.
    """
    start = window.start
    loss: float | None = None
    left = iterations
    if anneals(iterations, window.objective.distortion):
        left = max(2, iterations // 4)
        annealing = Annealing(window)
        if not annealing.run(iterations - left, budget, Stretch(progress, 0, iterations)):
            left = 1
        annealed = annealing.residuals
        loss = window.loss(start)
        if window.loss(annealed) < loss:
            window = replace(window, start=annealed)
    rdoq = Rdoq(window, torch.Generator().manual_seed(0))
    if loss is None:
        loss = rdoq.loss
    rdoq.run(left, budget, Stretch(progress, iterations - left, iterations))
    if rdoq.loss >= loss and (budget is None or bits <= budget):
        return start, bits
    return rdoq.residuals, rdoq.bits


class Refiner:
    """Refines what the encoder found, with one model and its post-processor."""

    def __init__(
        self,
        model: CodecModel,
        objective: Objective,
        transforms: Transforms,
        post_processor: PostProcessor | None,
    ) -> None:
        self._model_id = model.model_id
        self._objective = objective
        self._post_processor = post_processor
        self._transforms = transforms
        self._code_lengths = CodeLengths(model.tables, model.context_model, transforms.device)
        self._scale_decoder = model.scale_decoder.integer()

    def refine(
        self, picture: Picture, quantised: Quantised, *, iterations: int, progress: Progress
    ) -> Quantised:
        """Put a picture in symbols that cost less, look better, or both.

        Within its budget, if it has one and they can.

        Args:
            picture: the original.
            quantised: to start from; with a budget, best one `target_fraction` times as large.
            iterations: backward passes a window, apart from the one for the curvature; at least 1.
            progress: follows the iterations of all windows, and may end them early.
        """
        symbols = quantised.symbols
        tiles = self._tiles(symbols)
        indices = self._indices(symbols, progress)
        residuals = symbols.residuals.copy()
        parts = self._bits(quantised, tiles, progress)
        surplus = _surplus(quantised, sum(parts))
        changed = 0.0  # bits by which the windows done so far have changed the whole
        due = 0.0  # bits by which they were to
        for number, (tile, bits) in enumerate(zip(tiles, parts, strict=True)):
            window = self._window(picture, symbols, indices, residuals, tile)
            before = window.bits(window.start, window.tables(window.start))
            due += surplus * bits
            budget = None if quantised.budget is None else max(0.0, before + due - changed)
            refined, after = _refined(
                window, before, iterations, budget, PartOf(progress, number, len(tiles))
            )
            changed += after - before
            residuals[:, *tile.outer(HYPER_STRIDE)] = refined[0].to(torch.int16).cpu().numpy()
        return replace(
            quantised,
            symbols=replace(symbols, residuals=residuals),
            tables=self._tables(indices, residuals, progress),
            predicted_bytes=quantised.predicted_bytes + changed / 8,
        )

    def distortion(self, picture: Picture, quantised: Quantised, progress: Progress) -> float:
        """Add up D times pixels over the windows of the picture that symbols decode to,
        post-processed as they say.

        `progress` may end the work by raising.
        """
        symbols = quantised.symbols
        indices = self._indices(symbols, progress)
        total = 0.0
        for tile in with_pauses(self._tiles(symbols), progress):
            window = self._window(picture, symbols, indices, symbols.residuals, tile)
            with torch.no_grad():
                weighted = window.distortion(window.start, window.mean_of(window.start))
            total += float(weighted) / window.lmbda
        return total

    def windows(self, symbols: Symbols) -> int:
        """Count the windows that a picture is refined in: each has all of the iterations."""
        return len(self._tiles(symbols))

    def _tiles(self, symbols: Symbols) -> list[Tile]:
        _, rows, columns = symbols.residuals.shape
        return list(self._transforms.tiles(rows, columns, WINDOW_SIDE, CONTEXT_HALO))

    def _indices(self, symbols: Symbols, progress: Progress) -> NDArray[np.uint8]:
        """Tables by the scale decoder (M, h, w)."""
        _, rows, columns = symbols.residuals.shape
        return self._scale_decoder(symbols.z, progress=progress)[:, :rows, :columns]

    def _tables(
        self, indices: NDArray[np.uint8], residuals: NDArray[np.int16], progress: Progress
    ) -> NDArray[np.uint8]:
        """Tables corrected by their context (M, h, w)."""
        device = self._transforms.device
        index, residual = (torch.from_numpy(values)[None].to(device) for values in (indices, residuals))
        tables: NDArray[np.uint8] = self._code_lengths.corrected(index, residual, progress)[0].cpu().numpy()
        return tables

    def _bits(self, quantised: Quantised, tiles: Sequence[Tile], progress: Progress) -> list[float]:
        """Code length of the residuals, window by window."""
        tables, residuals = (
            torch.from_numpy(values).to(self._transforms.device)
            for values in (quantised.tables, quantised.symbols.residuals)
        )
        places = ((slice(None), *tile.inner(HYPER_STRIDE)) for tile in with_pauses(tiles, progress))
        return [float(self._code_lengths.under(tables[at], residuals[at]).double().sum()) for at in places]

    def _window(
        self,
        picture: Picture,
        symbols: Symbols,
        indices: NDArray[np.uint8],
        residuals: NDArray[np.int16],
        tile: Tile,
    ) -> Window:
        device = self._transforms.device
        outer = tile.outer(HYPER_STRIDE)
        start = torch.from_numpy(residuals[None, :, *outer]).to(device).float()
        index = torch.from_numpy(indices[None, :, *outer]).to(device)
        movable = torch.zeros_like(index, dtype=torch.bool)
        movable[..., *tile.within(HYPER_STRIDE)] = True
        z = torch.from_numpy(symbols.z[None, :, *tile.outer()]).to(device).float()
        with torch.no_grad(), self._transforms.autocast():
            z_mean = self._transforms.network.mean(z, *start.shape[-2:])
        return Window(
            transforms=self._transforms,
            objective=self._objective,
            code_lengths=self._code_lengths,
            lmbda=float(self._objective.lmbda(torch.tensor(symbols.position.share))),
            x=to_batch([picture.rgb[tile.outer(HYPER_PIXELS)]], device),
            start=start,
            indices=index,
            movable=movable & (index > 0),
            z_mean=z_mean,
            anchor=self._transforms.anchors([symbols.position]),
            postprocess=self._postprocess(symbols),
        )

    def _postprocess(self, symbols: Symbols) -> Callable[[Tensor], Tensor]:
        if not symbols.postprocess or self._post_processor is None:
            return lambda x_hat: x_hat
        return partial(self._post_processor, source=Source.learned(self._model_id, symbols.position))


def _surplus(quantised: Quantised, bits: float) -> float:
    """Share of the residuals' bits that the budget allows more.

    Negative where the picture is over it, at least -1.
    """
    if quantised.budget is None:
        return 0.0
    return max(-1.0, 8 * (quantised.budget - quantised.predicted_bytes) / max(1.0, bits))
