"""Transforms: the network on a device, tile by tile: pictures to y, y to z, z to means and indices,
symbols to pictures.

The transforms take 16-pixel blocks: pictures are padded by replication to whole blocks and cropped
on the way back. Only those blocks' latents are coded; the hyperprior pads them to multiples of four
by itself. Every transform runs over the tiles of `models.grid`, one for an ordinary picture. Kept
of the whole picture is y (5 bytes a pixel), or residuals, table indices and pixels (1 to 3 bytes a
pixel).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from models import threads
from models.grid import (
    CONTEXT_HALO,
    HALO,
    HYPER_PIXELS,
    HYPER_STRIDE,
    STRIDE,
    Tile,
    hyper_size,
    latent_size,
    tiles,
)
from models.learned.model import CodecModel
from models.learned.symbols import Symbols
from models.network.autoencoder import ResidualsOf
from models.network.precision import arranged, transform_autocast
from models.picture import Picture
from models.progress import UNINTERRUPTED, Progress, with_pauses
from models.rate_control.position import MAX_INDEX, Position
from models.tensors import paste, to_batch, to_pixels

# Hyper-latents on a side, 1024 pixels. On a core with AMX these are 10 % faster than tiles of 2048
# pixels, which leave its caches. On one with AVX2 alone they are 15 % slower, and others wait a
# third as long for them.
TILE = 16
# Tiles on a side, of a picture that is not cut yet; and of a tile for hyperprior and context, which
# cost little and whose halo is large.
COARSE = 2


class Transforms:
    """One model's network and exact scale decoder on one device.

    Args:
        model: weights, exact scale decoder, tables.
        device: where they run.
        bfloat16: run the network in bfloat16 or not; None takes what the device is fast at.
        tile: side of the tiles in hyper-latents (64 pixels), of a picture of more than four.

    Raises:
        WeightsError: the device's arithmetic fails the scale decoder's self-check.
    """

    def __init__(self, model: CodecModel, device: torch.device, *, bfloat16: bool | None, tile: int) -> None:
        self.device = device
        self.network = arranged(model.network, device, bfloat16=bfloat16)
        del self.network.h_scale  # the scale decoder is in its place
        self._bfloat16 = bfloat16
        self._tile = tile
        self._scale_decoder = model.scale_decoder.to(device)
        self._scale_decoder.self_check()
        self._z_low = torch.from_numpy(model.tables.z_low).float().view(1, -1, 1, 1).to(device)
        self._z_high = torch.from_numpy(model.tables.z_high).float().view(1, -1, 1, 1).to(device)

    def autocast(self) -> torch.autocast:
        """The arithmetic that the network runs in."""
        return transform_autocast(self.device, bfloat16=self._bfloat16)

    def tiles(self, rows: int, columns: int, side: int | None = None, halo: int = HALO) -> Iterator[Tile]:
        """Cut y of `rows` x `columns` latents; `side` and `halo` are in hyper-latents."""
        return tiles(*hyper_size(rows, columns), side or COARSE * self._tile, halo)

    def _fine_tiles(self, rows: int, columns: int) -> Iterator[Tile]:
        """Cut y of `rows` x `columns` latents for the transforms between pixels and y."""
        return tiles(*hyper_size(rows, columns), self._tile, undivided=COARSE * self._tile)

    def anchors(self, positions: Sequence[Position]) -> Tensor:
        """Place positions between the network's gain anchors (N,)."""
        # In float32, as today's streams were made: `Position.anchor` in float64 may round to
        # another last bit.
        indices = torch.tensor([position.index for position in positions], device=self.device)
        anchors: Tensor = indices / MAX_INDEX * (self.network.topology.anchors - 1)
        return anchors

    def latents(self, pictures: Sequence[Picture], progress: Progress = UNINTERRUPTED) -> Tensor:
        """Analyse pictures of equal padded size: y (N, M, h, w), channels last in memory."""
        rows, columns = latent_size(pictures[0].height, pictures[0].width)
        shape = len(pictures), self.network.topology.latents, rows, columns
        y = torch.empty(shape, device=self.device, memory_format=torch.channels_last)
        for tile in with_pauses(self._fine_tiles(rows, columns), progress):
            pixels = [picture.rgb[tile.outer(HYPER_PIXELS)] for picture in pictures]
            x = to_batch(pixels, self.device, multiple=STRIDE)
            with threads.worth(x[:, 0].numel(), of=threads.PIXELS):
                part = self.network.g_a(x, progress.pause)
            y[..., *tile.inner(HYPER_STRIDE)] = part[..., *tile.within(HYPER_STRIDE)]
        return y

    def hyper_latents(self, y: Tensor, anchors: Tensor, progress: Progress = UNINTERRUPTED) -> Tensor:
        """Make side information of y (N, M, h, w): z_hat (N, C, h/4, w/4), integers within their
        tables.
        """
        shape = (len(y), self.network.topology.hyper, *hyper_size(*y.shape[-2:]))
        z = torch.empty(shape, device=self.device, memory_format=torch.channels_last)
        for tile in with_pauses(self.tiles(*y.shape[-2:]), progress):
            scaled = self.network.scaled(y[..., *tile.outer(HYPER_STRIDE)], anchors)
            with self.autocast():
                part = self.network.side_information(scaled).round_().clamp_(self._z_low, self._z_high)
            z[..., *tile.inner()] = part[..., *tile.within()]
        return z

    def mean(self, z: Tensor, anchors: Tensor, like: Tensor, residuals_of: ResidualsOf) -> Tensor:
        """Predict scaled y from z and what is decoded before it, in the shape of `like` (N, M, h,
        w).

        See `AutoEncoder.mean_in_context`.
        """
        with self.autocast():
            mean = self.network.mean(z, *like.shape[-2:])
            return self.network.mean_in_context(mean, anchors, residuals_of)

    def indices(self, z: Tensor, like: Tensor) -> Tensor:
        """Table indices by the scale decoder, uint8, in the shape of `like` (N, M, h, w)."""
        return self._scale_decoder(z)[..., : like.shape[-2], : like.shape[-1]]

    def pictures(self, symbols: Sequence[Symbols], progress: Progress = UNINTERRUPTED) -> list[Picture]:
        """Synthesise the pictures that symbols of equal size stand for."""
        with threads.worth(sum(picture.residuals.size for picture in symbols), of=threads.LATENTS):
            y_hat = self._dequantised(symbols, progress)
        results = [np.empty((picture.height, picture.width, 3), np.uint8) for picture in symbols]
        for tile in with_pauses(self._fine_tiles(*y_hat.shape[-2:]), progress):
            part = y_hat[..., *tile.outer(HYPER_STRIDE)]
            with threads.worth(part[:, 0].numel() * STRIDE**2, of=threads.PIXELS):
                x_hat = self.network.g_s(part, progress.pause)
            parts = to_pixels(x_hat[..., *tile.within(HYPER_PIXELS)])
            for picture, rgb, pixels in zip(symbols, results, parts, strict=True):
                paste(pixels, rgb[tile.inner(HYPER_PIXELS)], greyscale=picture.greyscale)
        return [
            Picture(rgb, picture.alpha, picture.greyscale)
            for picture, rgb in zip(symbols, results, strict=True)
        ]

    def _dequantised(self, symbols: Sequence[Symbols], progress: Progress) -> Tensor:
        """Rebuild y_hat (N, M, h, w) of symbols of equal size, channels last in memory."""
        anchors = self.anchors([picture.position for picture in symbols])
        z = torch.from_numpy(np.stack([picture.z for picture in symbols])).to(self.device).float()
        channels, rows, columns = symbols[0].residuals.shape
        y_hat = torch.empty(
            (len(symbols), channels, rows, columns), device=self.device, memory_format=torch.channels_last
        )
        for tile in with_pauses(self.tiles(rows, columns, halo=CONTEXT_HALO), progress):
            outer = tile.outer(HYPER_STRIDE)
            within = tile.within(HYPER_STRIDE)
            residuals = np.stack([picture.residuals[:, *outer] for picture in symbols])
            r_hat = torch.from_numpy(residuals).to(self.device).float()
            mean = self.mean(z[..., *tile.outer()], anchors, r_hat, partial(_decoded, r_hat))
            part = self.network.dequantised(r_hat[..., *within], mean[..., *within], anchors)
            y_hat[..., *tile.inner(HYPER_STRIDE)] = part
        return y_hat


def _decoded(r_hat: Tensor, mean: Tensor) -> Tensor:
    """Residuals that are known already, whatever the mean."""
    return r_hat[:, : mean.shape[1]]
