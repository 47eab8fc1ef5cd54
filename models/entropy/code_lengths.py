"""Code lengths on a device: the bits that `models.entropy.coder` will spend.

It spends a few bytes more at most, for how it ends a section.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.entropy.blas import single_threaded
from models.entropy.context_model import PHASES, ContextModel, hyper_contexts
from models.entropy.context_model_torch import ExactContextModel
from models.entropy.layer_torch import kind_on
from models.entropy.tables import LARGEST_SUPPORT, Tables
from models.progress import UNINTERRUPTED, Progress, with_pauses

STRIP_ROWS = 64  # rows of latents that are looked up at a time: bounds memory


class CodeLengths:
    """The tables of one model, as bits.

    Args:
        tables: of z and of the residuals.
        context_model: chooses among the residuals' tables.
        device: where the symbols are.

    Raises:
        WeightsError: the device does not choose tables as NumPy does.
    """

    def __init__(self, tables: Tables, context_model: ContextModel, device: torch.device) -> None:
        self._definition = context_model
        # In float32 a CPU's threads take longer to wake for these small products than they save.
        is_slow = device.type == "cpu" and kind_on(device) is torch.float32
        self._on_device = None if is_slow else ExactContextModel(context_model, device)
        self._residual_bits = torch.from_numpy(tables.laplace_bits()).to(device).view(-1)
        self._z_bits = torch.from_numpy(tables.z_bits()).to(device)
        self._z_low = torch.from_numpy(tables.z_low)[:, None, None].to(device)
        self._z_centre = torch.from_numpy(tables.z_centre)[:, None, None].to(device)

    def of_hyper_latents(self, z: Tensor) -> Tensor:
        """Sum the bits of z (N, C, h, w), integers in any type, by image: float64 (N,).

        Each channel must lie within its table's range.
        """
        contexts = torch.zeros(z.shape, dtype=torch.int64, device=z.device)
        for row, column in PHASES:
            contexts[..., row::2, column::2] = hyper_contexts(z, self._z_centre, (row, column))
        channel = torch.arange(z.shape[1], device=z.device)[:, None, None]
        return self._z_bits[channel, contexts, (z - self._z_low).long()].double().sum((1, 2, 3))

    def corrected(self, indices: Tensor, residuals: Tensor, progress: Progress = UNINTERRUPTED) -> Tensor:
        """Choose the tables of residuals by their neighbours and lower bands.

        Args:
            indices: by the scale decoder, uint8 (N, M, h, w).
            residuals: all of them (N, M, h, w), integers in any type.
            progress: pauses, and may end the work by raising.

        Returns:
            Table indices uint8 (N, M, h, w).
        """
        if self._on_device is not None:
            return self._on_device.all_corrected(indices, residuals, progress)
        pictures = zip(indices.numpy(), residuals.detach().to(torch.int16).numpy(), strict=True)
        with single_threaded():
            corrected = [self._definition.all_corrected(*picture, progress) for picture in pictures]
        return torch.from_numpy(np.stack(corrected))

    def under(self, tables: Tensor, residuals: Tensor) -> Tensor:
        """Look up the bits of each residual under its table: float32, in their common shape.

        Args:
            tables: indices 0..63, of any integer type; 0 costs nothing.
            residuals: integers in any type.
        """
        limit = LARGEST_SUPPORT + 1
        place = residuals.clamp(-limit, limit).int().abs_().add_(tables.int().mul_(limit + 1))
        return self._residual_bits.index_select(0, place.flatten()).view(place.shape)

    def of_residuals(
        self, indices: Tensor, residuals: Tensor, progress: Progress = UNINTERRUPTED
    ) -> tuple[Tensor, Tensor]:
        """Choose the tables of residuals, and sum their bits by image.

        Args:
            indices: by the scale decoder, uint8 (N, M, h, w).
            residuals: (N, M, h, w), integers in any type; 0 where the index is 0.
            progress: pauses, and may end the work by raising.

        Returns:
            Bits float64 (N,) and tables uint8 (N, M, h, w), with which the coder spends them.
        """
        tables = self.corrected(indices, residuals, progress)
        bits = torch.zeros(len(indices), dtype=torch.float64, device=indices.device)
        for top in with_pauses(range(0, indices.shape[-2], STRIP_ROWS), progress):
            rows = slice(top, top + STRIP_ROWS)
            bits += self.under(tables[..., rows, :], residuals[..., rows, :]).double().sum((1, 2, 3))
        return bits, tables
