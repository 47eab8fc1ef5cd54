"""The context model for batches on a device [format]: `models.entropy.context_model` in torch.

An encoder knows all residuals, so the networks of all bands can run at once. They are as small as
the calls to run them one by one are slow: a picture of 768x512 needs 0.2 GMAC of them. Here they
are stacked, for each pass, to one network:

    the inputs of the last band, which sees all that others see
        --one product, with weight 0 where a band does not look--> hidden units of all bands
        --one batch of products--> hidden units --a product for each band--> index shifts

It gives the same integers as NumPy's, which define the format. Every sum provably stays within
2**24, where float32 holds all integers; zeros add nothing to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.entropy.context_model import (
    MAX_INDEX_SHIFT,
    NEIGHBOURS,
    ContextModel,
    Known,
    Network,
    known_before,
    magnitude_level,
    network_inputs,
)
from models.entropy.requantisation import Integers, requantised
from models.entropy.scale_decoder import ACTIVATION_LIMIT
from models.entropy.tables import LAPLACE_TABLES
from models.errors import WeightsError
from models.grid import PASSES
from models.progress import UNINTERRUPTED, Progress, with_pauses

STRIP_ELEMENTS = 1 << 22  # of the networks' input that are looked at at a time: bounds memory


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A layer of all bands; shapes broadcast.

    Attributes:
        weight: float32, integers; one product (bands * hidden, in) or a batch of them (bands,
            hidden, hidden).
        ratio, offset: see `requantised`.
    """

    weight: Tensor
    ratio: Tensor
    offset: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return requantised(self.weight @ x, self.ratio, self.offset, 0, ACTIVATION_LIMIT)


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """The networks of all bands of a pass.

    Attributes:
        head: the first layer.
        between: the layers between the first and the last.
        last: weights of each band's last layer, float32 (channels of the band, hidden).
        ratio, offset: of the last layers, (M, 1).
    """

    head: _Layer
    between: tuple[_Layer, ...]
    last: tuple[Tensor, ...]
    ratio: Tensor
    offset: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Compute index shifts (N, M, places) from the last band's inputs (N, in, places)."""
        x = self.head(x)
        x = x.view(len(x), len(self.last), x.shape[1] // len(self.last), x.shape[2])
        for layer in self.between:
            x = layer(x)
        total = torch.cat([weight @ x[:, band] for band, weight in enumerate(self.last)], -2)
        return requantised(total, self.ratio, self.offset, -MAX_INDEX_SHIFT, MAX_INDEX_SHIFT)


class ExactContextModel:
    """The context networks of one model on one device.

    Args:
        model: the definition. The networks of a pass are all empty, or all equally deep.
        device: where they run.

    Raises:
        WeightsError: the device does not choose tables as NumPy does.
    """

    def __init__(self, model: ContextModel, device: torch.device) -> None:
        self._last_start = model.band_starts[-1]
        self._passes = [
            _stacked(model, networks, device, around=bool(NEIGHBOURS[phases[0]])) if all(networks) else None
            for networks, phases in zip(model.networks, PASSES, strict=True)
        ]
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
            raise WeightsError(f"context networks on {device} do not choose as on a CPU; refusing to code")

    @torch.no_grad()
    def all_corrected(self, indices: Tensor, residuals: Tensor, progress: Progress = UNINTERRUPTED) -> Tensor:
        """Choose the tables of all residuals.

        Args:
            indices: by the scale decoder, uint8 (N, M, h, w).
            residuals: (N, M, h, w), integers in any type; 0 where the index is 0.
            progress: pauses, and may end the work by raising.

        Returns:
            Table indices uint8 (N, M, h, w).
        """
        corrected = indices.clone()
        with torch.autocast(indices.device.type, enabled=False):
            levels: Tensor = magnitude_level(residuals)
            for phases, networks in zip(PASSES, self._passes, strict=True):
                for row, column in phases if networks else ():
                    progress.pause()
                    known: Known[Tensor] = known_before(indices, levels, (row, column))
                    own = levels[..., row::2, column::2]
                    tables = corrected[..., row::2, column::2]
                    self._correct(networks, known, own, tables, progress)
        return corrected

    def _correct(
        self, networks: _Pass | None, known: Known[Tensor], levels: Tensor, tables: Tensor, progress: Progress
    ) -> None:
        """Write the tables of a phase (N, M, h', w')."""
        assert networks is not None
        batch, channels, rows, columns = tables.shape
        height = max(1, STRIP_ELEMENTS // max(1, batch * columns * networks.head.weight.shape[1]))
        for top in with_pauses(range(0, rows, height), progress):
            strip = slice(top, top + height)
            inputs = network_inputs(known, levels, slice(self._last_start, None), strip)
            own = inputs[:, :channels]  # indices come first
            moved = networks(inputs).add_(own).clamp_(1, LAPLACE_TABLES - 1).mul_(own.clamp(0, 1))
            tables[..., strip, :] = moved.view(tables[..., strip, :].shape)


def _stacked(
    model: ContextModel, networks: Sequence[Network], device: torch.device, *, around: bool
) -> _Pass:
    """Stack the networks of a pass.

    Args:
        model: of the networks.
        networks: of every band, none of them empty.
        device: where they will run.
        around: whether they look at neighbours.
    """

    def tensor(values: Integers) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)

    depths = zip(*networks, strict=True)
    heads, *between, last = ([*layers] for layers in depths)
    channels = model.channels
    weight = np.zeros((len(heads), len(heads[0].weight), heads[-1].weight.shape[1]), np.float32)
    for band, layer in enumerate(heads):
        weight[band][:, _columns(model, band, channels, around=around)] = layer.weight
    head = _Layer(
        tensor(weight.reshape(-1, weight.shape[-1])),
        tensor(np.concatenate([layer.ratio for layer in heads])),
        tensor(np.concatenate([layer.offset for layer in heads])),
    )
    return _Pass(
        head,
        tuple(
            _Layer(
                tensor(np.stack([layer.weight for layer in layers])),
                tensor(np.stack([layer.ratio for layer in layers])),
                tensor(np.stack([layer.offset for layer in layers])),
            )
            for layers in between
        ),
        tuple(tensor(layer.weight) for layer in last),
        tensor(np.concatenate([layer.ratio for layer in last])),
        tensor(np.concatenate([layer.offset for layer in last])),
    )


def _columns(model: ContextModel, band: int, channels: int, *, around: bool) -> list[int]:
    """List the places of a band's inputs among those of the last band, see `network_inputs`."""
    own = model.band(band)
    seen = own.stop or channels
    first = channels + model.band_starts[-1]  # of those around
    places = [*range(seen), *range(channels, channels + own.start)]
    if around:
        places += [*range(first, first + seen), *range(first + channels, first + channels + seen)]
        places.append(first + 2 * channels)
    return places
