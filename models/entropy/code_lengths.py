"""How many bits symbols will take, on a device: what `models.entropy.coder` will spend, give or take how it ends a section."""

from __future__ import annotations

import torch
from torch import Tensor

from models.entropy.context_model import PHASES, ContextModel, hyper_contexts
from models.entropy.tables import LARGEST_SUPPORT, Tables

BAND = 64  # rows of latents looked up at a time: bounds memory


class CodeLengths:
    """The tables of one model, as bits."""

    def __init__(self, tables: Tables, context_model: ContextModel, device: torch.device) -> None:
        self._context_model = context_model.mapped(lambda values: torch.from_numpy(values).to(device))
        self._residual_bits = torch.from_numpy(tables.laplace_bits()).to(device).view(-1)
        self._z_bits = torch.from_numpy(tables.z_bits()).to(device)
        self._z_low, self._z_centre = (torch.from_numpy(values)[:, None, None].to(device) for values in (tables.z_low, tables.z_centre))

    def of_hyper_latents(self, z: Tensor) -> Tensor:
        """Bits of z (N, C, h, w), integers in any type, by image (N,)."""
        contexts = torch.zeros(z.shape, dtype=torch.int64, device=z.device)
        for row, column in PHASES:
            contexts[..., row::2, column::2] = hyper_contexts(z, self._z_centre, (row, column))
        channel = torch.arange(z.shape[1], device=z.device)[:, None, None]
        return self._z_bits[channel, contexts, (z - self._z_low).long()].double().sum((1, 2, 3))

    def corrected(self, indices: Tensor, residuals: Tensor) -> Tensor:
        """Table indices (N, M, h, w) in the context of their neighbours, from the scale decoder's and all residuals."""
        with torch.no_grad(), torch.autocast(indices.device.type, enabled=False):
            corrected: Tensor = self._context_model.all_corrected(indices, residuals)
        return corrected

    def under(self, tables: Tensor, residuals: Tensor) -> Tensor:
        """Bits of each residual under its table, any equal shapes."""
        magnitude = residuals.abs().clamp(max=LARGEST_SUPPORT + 1).int()
        return self._residual_bits[magnitude.add_(tables.int() * (LARGEST_SUPPORT + 2))]

    def of_residuals(self, indices: Tensor, residuals: Tensor) -> Tensor:
        """Bits of residuals (N, M, h, w) whose indices by the scale decoder these are, by image (N,)."""
        corrected = self.corrected(indices, residuals)
        bits = torch.zeros(len(indices), dtype=torch.float64, device=indices.device)
        for top in range(0, indices.shape[-2], BAND):
            rows = slice(top, top + BAND)
            bits += self.under(corrected[..., rows, :], residuals[..., rows, :]).double().sum((1, 2, 3))
        return bits
