"""Encoder: pictures to symbols, each at the position on the gain axis that its target allows.

    pictures --g_a--> y --gain, h_a--> z_hat --exact--> indices --passes--> r_hat --tables--> size
                      +-- rate control repeats what is right of y until the budget is met

It is the device's share of encoding; the entropy coder comes after it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from models import threads
from models.bitstream import header_bytes
from models.entropy.code_lengths import CodeLengths
from models.entropy.tables import LARGEST_RESIDUAL, Tables
from models.grid import CONTEXT_HALO, HYPER_STRIDE
from models.learned.model import CodecModel
from models.learned.symbols import Quantised, Symbols
from models.learned.transforms import Transforms
from models.picture import Picture
from models.progress import UNINTERRUPTED, Progress, with_pauses
from models.rate_control import GainSearch, Position, Target

CODER_BYTES = 6.0  # what two range-coded sections take beyond the tables' code lengths (measured: 4 to 10)

# The dead zone around 0 is wider where a step to 0 saves many bits: 0.02 dB at equal bytes, for
# either profile. A wider one loses: what many small steps take away adds up in g_s to blur, which
# effort can judge and a threshold cannot.
DEAD_ZONE = 0.5  # quantiser steps on either side of 0, rounding alone
DEAD_ZONE_SLOPE_PER_BIT = 0.02  # quantiser steps wider for every bit that a step to 0 saves
DEAD_ZONE_FREE_BITS = 3.0  # beyond so many
DEAD_ZONE_MOST_WIDENING = 0.2  # quantiser steps


@dataclass(frozen=True, slots=True, eq=False)
class _Probe:
    """A batch at given positions.

    Attributes:
        z: hyper-latents (N, C, h/4, w/4), integers.
        residuals: int16 (N, M, h, w).
        tables: of the residuals, corrected by their context, uint8 (N, M, h, w).
        bits: code length (N,).
    """

    z: Tensor
    residuals: Tensor
    tables: Tensor
    bits: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Quantiser:
    """Rounds the residuals of one tile, with a dead zone around 0.

    Attributes:
        scaled: y in quantiser steps (N, M, h, w).
        dead_zone: magnitudes below it become 0 (N, M, h, w).
    """

    scaled: Tensor
    dead_zone: Tensor

    def __call__(self, mean: Tensor) -> Tensor:
        """Residuals of the lowest channels (N, C, h, w), for these means of theirs."""
        channels = mean.shape[1]
        residual = self.scaled[:, :channels] - mean
        # A comparison to float32 takes a sixth of the time of one to booleans.
        alive = torch.empty_like(residual)
        torch.ge(residual.abs(), self.dead_zone[:, :channels], out=alive)
        return residual.round_().clamp_(-LARGEST_RESIDUAL, LARGEST_RESIDUAL).mul_(alive)


class Encoder:
    """Quantises pictures with one model."""

    def __init__(self, model: CodecModel, transforms: Transforms) -> None:
        self._transforms = transforms
        self._code_lengths = CodeLengths(model.tables, model.context_model, transforms.device)
        self._bits_per_significant = model.bits_per_significant.double().numpy()
        self._dead_zone = _dead_zone(model.tables).to(transforms.device)

    def quantise(
        self,
        pictures: Sequence[Picture],
        targets: Sequence[Target],
        alphas: Sequence[bytes | None],
        *,
        target_fraction: float = 1.0,
        progress: Progress = UNINTERRUPTED,
    ) -> list[Quantised]:
        """Quantise pictures of equal padded size, each at the position that its target allows.

        All that still search are probed as one batch, until each has found its position.

        Args:
            pictures: of equal padded size.
            targets: one for each picture.
            alphas: their alpha sections.
            target_fraction: of its budget that each aims at, (0, 1].
            progress: may end the work between two tiles, by raising.
        """
        y = self._latents(pictures, progress)
        with threads.worth(y.numel(), of=threads.LATENTS):
            return self._quantised(y, pictures, targets, alphas, target_fraction, progress)

    def _quantised(
        self,
        y: Tensor,
        pictures: Sequence[Picture],
        targets: Sequence[Target],
        alphas: Sequence[bytes | None],
        target_fraction: float,
        progress: Progress,
    ) -> list[Quantised]:
        """See `quantise`; y (N, M, h, w) is the pictures'."""
        budgets = [target.budget(picture.pixels) for picture, target in zip(pictures, targets, strict=True)]
        searches = [
            self._search(budget, target, y[i : i + 1], alpha, target_fraction, progress)
            for i, (budget, target, alpha) in enumerate(zip(budgets, targets, alphas, strict=True))
        ]
        found: dict[int, Quantised] = {}
        # A budget's search has waited for y on the device; without one there is hardly anything to
        # measure.
        begun = time.perf_counter()
        probe: _Probe | None = None
        while pending := [i for i in range(len(pictures)) if i not in found]:
            positions = [_wanted(searches[i], targets[i]) for i in pending]
            del probe  # a large picture's takes more than the picture
            probe = self._probe(y[pending] if len(pending) < len(y) else y, positions, progress)
            for row, (i, position) in enumerate(zip(pending, positions, strict=True)):
                search = searches[i]
                size = self._size(probe, row, alphas[i])
                if search is None or _is_settled(search, position, size):
                    budget = budgets[i]
                    found[i] = Quantised(
                        symbols=_symbols(probe, row, pictures[i], position),
                        tables=np.ascontiguousarray(probe.tables[row].cpu().numpy()),
                        alpha=alphas[i],
                        target=targets[i],
                        budget=None if budget is None else max(1, budget),
                        predicted_bytes=size,
                        probes=search.probes if search else 1,
                        search_seconds=0.0,
                    )
        seconds = time.perf_counter() - begun
        return [replace(found[i], search_seconds=seconds) for i in range(len(pictures))]

    def _latents(self, pictures: Sequence[Picture], progress: Progress) -> Tensor:
        """y (N, M, h, w).

        Computed once of a picture that is there several times, with several targets.
        """
        unique = {id(picture): picture for picture in pictures}
        y = self._transforms.latents(list(unique.values()), progress)
        if len(unique) == len(pictures):
            return y
        rows = {name: row for row, name in enumerate(unique)}
        return y[[rows[id(picture)] for picture in pictures]]

    def _search(
        self,
        budget: int | None,
        target: Target,
        y: Tensor,
        alpha: bytes | None,
        target_fraction: float,
        progress: Progress,
    ) -> GainSearch | None:
        """The search for a budget in bytes, with the sizes to expect at the anchors.

        None for a quality.
        """
        if budget is None:
            return None
        network = self._transforms.network
        tiles = with_pauses(self._transforms.tiles(*y.shape[-2:]), progress)
        counts = torch.cat([network.significant(y[..., *tile.inner(HYPER_STRIDE)]) for tile in tiles]).sum(0)
        bits = (1 + counts).cpu().numpy() * self._bits_per_significant
        fixed = header_bytes(0, 0, len(alpha or b"")) + len(alpha or b"") + CODER_BYTES
        return GainSearch(max(1, round(budget * target_fraction)), fixed + bits / 8, target.tolerance)

    @staticmethod
    def _size(probe: _Probe, row: int, alpha: bytes | None) -> float:
        """Predict the size of a stream in bytes."""
        payload = float(probe.bits[row]) / 8 + CODER_BYTES
        z = round(payload) // 8  # only the length of its varint matters
        header = header_bytes(z, round(payload) - z, None if alpha is None else len(alpha))
        return header + payload + len(alpha or b"")

    def _probe(self, y: Tensor, positions: list[Position], progress: Progress) -> _Probe:
        """Run hyper path and quantiser at one position per image: everything rate control needs,
        and what to code.
        """
        anchors = self._transforms.anchors(positions)
        z = self._transforms.hyper_latents(y, anchors, progress)
        residuals, indices = (
            torch.empty(y.shape, dtype=dtype, device=z.device, memory_format=torch.channels_last)
            for dtype in (torch.int16, torch.uint8)
        )
        rows, columns = y.shape[-2:]
        for tile in with_pauses(self._transforms.tiles(rows, columns, halo=CONTEXT_HALO), progress):
            inner = tile.inner(HYPER_STRIDE)
            within = tile.within(HYPER_STRIDE)
            scaled = self._transforms.network.scaled(y[..., *tile.outer(HYPER_STRIDE)], anchors)
            index = self._transforms.indices(z[..., *tile.outer()], scaled)
            progress.pause()
            quantiser = _Quantiser(scaled, _looked_up(self._dead_zone, index))
            mean = self._transforms.mean(z[..., *tile.outer()], anchors, scaled, quantiser)
            residuals[..., *inner] = quantiser(mean)[..., *within]
            indices[..., *inner] = index[..., *within]
        bits, tables = self._code_lengths.of_residuals(indices, residuals, progress)
        return _Probe(z, residuals, tables, bits + self._code_lengths.of_hyper_latents(z))


def _symbols(probe: _Probe, row: int, picture: Picture, position: Position) -> Symbols:
    return Symbols(
        width=picture.width,
        height=picture.height,
        position=position,
        greyscale=picture.greyscale,
        postprocess=False,
        z=np.ascontiguousarray(probe.z[row].to(torch.int8).cpu().numpy()),
        residuals=np.ascontiguousarray(probe.residuals[row].cpu().numpy()),
        alpha=picture.alpha,
        coded=probe.z[row].numel() + int(probe.tables[row].count_nonzero()),
    )


def _looked_up(values: Tensor, index: Tensor) -> Tensor:
    """Give values[index], (64,) and uint8 (N, M, h, w), channels last in memory."""
    rows = index.movedim(1, -1)
    return values.index_select(0, rows.int().flatten()).view(rows.shape).movedim(-1, 1)


def _is_settled(search: GainSearch, position: Position, size: float) -> bool:
    """Tell the search the size that was found; whether this very position is the result."""
    search.observe(position.index, size)
    return search.probe is None and search.best == position.index


def _dead_zone(tables: Tables) -> Tensor:
    """Magnitudes that are rounded to 0 under each table (64,).

    Infinite for table 0, which can say nothing else.
    """
    bits = torch.from_numpy(tables.laplace_bits()).float()
    saved = bits[:, 1] - bits[:, 0]
    widening = DEAD_ZONE_SLOPE_PER_BIT * (saved - DEAD_ZONE_FREE_BITS)
    zone = DEAD_ZONE + widening.clamp(0, DEAD_ZONE_MOST_WIDENING)
    zone[0] = torch.inf
    return zone


def _wanted(search: GainSearch | None, target: Target) -> Position:
    """The position to look at next: the search's, or that of the quality asked for."""
    if search is None:
        return Position.from_quality(target.quality or 0.0)
    return Position(search.best if search.probe is None else search.probe)
