"""The context model for batches on a device [format]: `models.entropy.context_model` in torch.

An encoder knows all residuals, so the networks of all bands can run at once. They are as small as
the calls to run them one by one are slow: a picture of 768x512 needs 0.2 GMAC of them. Here they
are stacked, for each pass, to one network of three layers:

    the inputs of the last band, which sees all that others see
        --weight 0 where a band does not look--> hidden units of all bands
        --weight 0 between bands--> hidden units of all bands --the same--> index shifts

It gives the same integers as NumPy's, which define the format; zeros add nothing to a sum. All is
channels last, so that a place's inputs lie beside each other, as `models.entropy.layer_torch` takes
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from models.entropy.context_model import (
    INPUT_LIMIT,
    MAGNITUDE_LEVELS,
    MAX_INDEX_SHIFT,
    NEIGHBOURS,
    ContextModel,
    Layer,
    Network,
)
from models.entropy.layer_torch import RowLayer, kind_on
from models.entropy.scale_decoder import ACTIVATION_LIMIT
from models.entropy.tables import LAPLACE_TABLES
from models.errors import WeightsError
from models.grid import PASSES, Phase
from models.progress import UNINTERRUPTED, Progress, with_pauses

STRIP_ELEMENTS = 1 << 22  # that are looked at at a time: bounds memory


class ExactContextModel:
    """The context networks of one model on one device.

    Args:
        model: the definition. The networks of a pass are all empty, or all equally deep.
        device: where they run.

    Raises:
        WeightsError: the device does not choose tables as NumPy does.
    """

    def __init__(self, model: ContextModel, device: torch.device) -> None:
        self._kind = kind_on(device)
        self._last_start = model.band_starts[-1]
        self._passes = [
            _stacked(model, networks, self._kind, device, around=bool(NEIGHBOURS[phases[0]]))
            if all(networks)
            else []
            for networks, phases in zip(model.networks, PASSES, strict=True)
        ]
        self._levels = torch.tensor(MAGNITUDE_LEVELS, dtype=torch.uint8, device=device)
        self._self_check(model, device)

    def _self_check(self, model: ContextModel, device: torch.device) -> None:
        """Compare with NumPy: what is chosen here goes into streams, and NumPy reads them."""
        rng = np.random.default_rng(0)
        shape = (model.channels, 3, 4)
        indices = rng.integers(0, LAPLACE_TABLES, shape).astype(np.uint8)
        residuals = (rng.integers(-20, 21, shape) * (indices > 0)).astype(np.int16)
        index, residual = (torch.from_numpy(values)[None].to(device) for values in (indices, residuals))
        chosen = self.all_corrected(index, residual)[0].cpu().numpy()
        if not np.array_equal(chosen, model.all_corrected(indices, residuals)):
            raise WeightsError(f"context networks on {device} do not choose as NumPy does; refusing to code")

    @torch.no_grad()
    def all_corrected(self, indices: Tensor, residuals: Tensor, progress: Progress = UNINTERRUPTED) -> Tensor:
        """Choose the tables of all residuals.

        Args:
            indices: by the scale decoder, uint8 (N, M, h, w).
            residuals: (N, M, h, w), integers in any type; 0 where the index is 0.
            progress: pauses, and may end the work by raising.

        Returns:
            Table indices uint8 (N, M, h, w), channels last in memory.
        """
        index = indices.movedim(1, -1).contiguous()
        corrected = index.clone()
        with torch.autocast(indices.device.type, enabled=False):
            level = self._magnitude_level(residuals.movedim(1, -1).contiguous())
            for phases, layers in zip(PASSES, self._passes, strict=True):
                for phase in phases if layers else ():
                    progress.pause()
                    self._correct(corrected, index, level, phase, layers, progress)
        return corrected.movedim(-1, 1)

    def _magnitude_level(self, residuals: Tensor) -> Tensor:
        """See `models.entropy.context_model.magnitude_level`: uint8, in the shape (N, h, w, M)."""
        level = torch.empty_like(residuals, dtype=torch.uint8)
        _, rows, columns, channels = residuals.shape
        height = max(1, STRIP_ELEMENTS // max(1, len(residuals) * columns * channels))
        for top in range(0, rows, height):
            strip = slice(top, top + height)
            places = residuals[:, strip].abs().clamp_(max=len(self._levels) - 1).int()
            level[:, strip] = self._levels.index_select(0, places.flatten()).view(places.shape)
        return level

    def _correct(
        self,
        corrected: Tensor,
        index: Tensor,
        level: Tensor,
        phase: Phase,
        layers: Sequence[RowLayer],
        progress: Progress,
    ) -> None:
        """Write the tables of a phase; all of it is (N, h, w, M)."""
        row, column = phase
        tables = corrected[:, row::2, column::2]
        own = index[:, row::2, column::2]
        lower = level[:, row::2, column::2, : self._last_start]
        parts = [own, lower]
        if NEIGHBOURS[phase]:
            count = torch.full_like(index[..., :1], INPUT_LIMIT // 4)
            parts += [_around(level, phase) >> 2, _around(index, phase) >> 2, _around(count, phase)]
        batch, rows, columns, _ = own.shape
        if not own.numel():
            return
        height = max(1, STRIP_ELEMENTS // max(1, batch * columns * sum(part.shape[-1] for part in parts)))
        for top in with_pauses(range(0, rows, height), progress):
            strip = slice(top, top + height)
            x = _joined([part[:, strip] for part in parts], self._kind)
            for layer in layers:
                x = layer(x)
            kept = own[:, strip].to(x.dtype)
            moved = x.view(kept.shape).add_(kept).clamp_(1, LAPLACE_TABLES - 1)
            tables[:, strip] = moved.mul_(kept.clamp_(max=1))


def _around(values: Tensor, phase: Phase) -> Tensor:
    """Sum uint8 values (N, h, w, C) over every element's decoded neighbours: (N, h', w', C)."""
    batch, rows, columns, channels = values.shape
    padded = values.new_zeros((batch, rows + 2, columns + 2, channels))
    padded[:, 1:-1, 1:-1] = values
    row, column = phase
    total: Tensor | None = None
    for down, right in NEIGHBOURS[phase]:
        neighbour = padded[:, 1 + row + down :: 2, 1 + column + right :: 2]
        neighbour = neighbour[:, : len(range(row, rows, 2)), : len(range(column, columns, 2))]
        total = neighbour.clone() if total is None else total.add_(neighbour)
    assert total is not None
    return total


def _joined(parts: Sequence[Tensor], kind: torch.dtype) -> Tensor:
    """Stack parts (N, rows, columns, channels), integers up to INPUT_LIMIT: (places, in)."""
    joined = parts[0].new_empty((*parts[0].shape[:-1], sum(part.shape[-1] for part in parts)), dtype=kind)
    start = 0
    for part in parts:
        stop = start + part.shape[-1]
        joined[..., start:stop] = part
        start = stop
    return joined.flatten(0, 2)


def _stacked(
    model: ContextModel,
    networks: Iterable[Network],
    kind: torch.dtype,
    device: torch.device,
    *,
    around: bool,
) -> list[RowLayer]:
    """Stack the networks of a pass.

    Args:
        model: of the networks.
        networks: of every band, none of them empty.
        kind: see `models.entropy.layer_torch.kind_on`.
        device: where they will run.
        around: whether they look at neighbours.
    """
    depths: list[tuple[Layer, ...]] = list(zip(*networks, strict=True))
    stacked = []
    for number, layers in enumerate(depths):
        weights = [torch.from_numpy(layer.weight) for layer in layers]
        if number:
            places = iter(range(sum(weight.shape[1] for weight in weights)))
            columns = [list(islice(places, weight.shape[1])) for weight in weights]
        else:
            columns = [_columns(model, band, around=around) for band in range(len(weights))]
        weight = _placed(weights, columns)
        is_last = number == len(depths) - 1
        stacked.append(
            RowLayer.of(
                weight.to(device),
                torch.from_numpy(np.concatenate([layer.ratio[:, 0] for layer in layers])).to(device),
                torch.from_numpy(np.concatenate([layer.offset[:, 0] for layer in layers])).to(device),
                (-MAX_INDEX_SHIFT, MAX_INDEX_SHIFT) if is_last else (0, ACTIVATION_LIMIT),
                kind,
                hidden=number > 0,
            )
        )
    return stacked


def _placed(weights: Sequence[Tensor], columns: Sequence[Sequence[int]]) -> Tensor:
    """Put weights (out, in) one below the other, each in its columns, the last in the rightmost."""
    placed = weights[0].new_zeros((sum(map(len, weights)), 1 + columns[-1][-1]))
    top = 0
    for weight, own in zip(weights, columns, strict=True):
        placed[top : top + len(weight), own] = weight
        top += len(weight)
    return placed


def _columns(model: ContextModel, band: int, *, around: bool) -> list[int]:
    """List the places of a band's inputs among those of the last band, see `network_inputs`."""
    channels = model.channels
    own = model.band(band)
    seen = own.stop or channels
    first = channels + model.band_starts[-1]  # of those around
    places = [*range(seen), *range(channels, channels + own.start)]
    if around:
        places += [*range(first, first + seen), *range(first + channels, first + channels + seen)]
        places.append(first + 2 * channels)
    return places
