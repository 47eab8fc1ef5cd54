"""SymbolCodec: symbols to streams and back, on the CPU alone.

By itself it needs neither a network nor torch, so that a process that only codes entropy is small
and starts in a fraction of a second.

    write   z, residuals, tables --range coder--> container
    read    container --range coder--> z --scale decoder--> table indices
                      --range coder, phase by phase--> residuals
                      --AVIF--> overlay, if any
"""

from __future__ import annotations

from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from models.bitstream import Bitstream, CodecKind
from models.bitstream.alpha import decode_alpha
from models.entropy.blas import single_threaded
from models.entropy.coder import SymbolCoder
from models.entropy.context_model import ContextModel
from models.entropy.requantisation import Integers
from models.entropy.scale_decoder import IntegerScaleDecoder
from models.entropy.tables import LARGEST_SUPPORT, Tables
from models.errors import UnknownModelError, WeightsError
from models.grid import PASSES, hyper_size, latent_size
from models.learned.symbols import Quantised, Symbols
from models.overlay.section import Overlay, unpack
from models.progress import UNINTERRUPTED, Progress
from models.rate_control import meets
from models.stream import Stream
from models.weights import registry

ENTROPY_ARRAYS = ("scale.", "tables.", "neighbours.")  # beginnings of their names in a weights file [format]


class ScaleDecoder(Protocol):
    """`IntegerScaleDecoder`, or what does the same in less time."""

    def __call__(self, z_hat: Integers, *, progress: Progress) -> NDArray[np.uint8]:
        """Compute table indices uint8 (M, 4 h, 4 w) from z_hat (C, h, w)."""

    def self_check(self) -> None:
        """Raise `WeightsError` where this machine does not compute exactly."""


class SymbolCodec:
    """The entropy coder and the container of one model.

    Args:
        name: of the model.
        model_id: 8 hex digits, as in every stream of this model.
        tables: of z and of the residuals.
        scale_decoder: from z to the table of each residual.
        context_model: corrects them by what is decoded.

    Raises:
        WeightsError: matrix products are not exact over integers here.
    """

    def __init__(
        self,
        name: str,
        model_id: str,
        tables: Tables,
        scale_decoder: ScaleDecoder,
        context_model: ContextModel,
    ) -> None:
        scale_decoder.self_check()
        self.name = name
        self.model_id = model_id
        self._coder = SymbolCoder(tables, context_model)
        self._context_model = context_model
        self._scale_decoder = scale_decoder
        self._residual_bits = tables.laplace_bits()

    @classmethod
    @cache
    def load(cls, name: str = registry.DEFAULT) -> SymbolCodec:
        """Load one of `registry.available()`; the same object whenever it is asked for.

        Raises `WeightsError`.
        """
        path = registry.weights(name)
        try:
            with safe_open(path, "np") as file:
                names = [key for key in file.keys() if key.startswith(ENTROPY_ARRAYS)]  # noqa: SIM118  # not a mapping
                arrays = {name: file.get_tensor(name) for name in names}
            return cls(
                name,
                registry.card(name).model_id,
                Tables.from_arrays(arrays),
                IntegerScaleDecoder.from_arrays(arrays),
                ContextModel.from_arrays(arrays),
            )
        except (OSError, SafetensorError, KeyError) as error:
            raise WeightsError(f"cannot load {path.name}: {error}") from error

    @single_threaded()
    def write(self, quantised: Quantised, progress: Progress = UNINTERRUPTED) -> Stream:
        """Code a picture; the stream is never over a budget that the prediction met.

        The prediction knows each section's code length and not how the coder ends it. Where that
        makes a stream a few bytes too long, the residuals whose bits buy least are stepped towards
        zero until it fits: a few of thousands, and any reader reads it.

        `progress` may end the work by raising.
        """
        symbols = quantised.symbols
        budget = quantised.budget
        residuals = symbols.residuals
        tables = quantised.tables
        z = self._coder.encode_z(symbols.z)
        data = self._container(quantised, z, residuals, tables, progress)
        if budget is not None and quantised.predicted_bytes <= budget < len(data):
            _, rows, columns = residuals.shape
            indices = self._indices(symbols.z, rows, columns, progress)
            while len(data) > budget and residuals.any():
                residuals = self._shrink_to_fit(residuals, tables, 8 * (len(data) - budget))
                tables = self._context_model.all_corrected(indices, residuals, progress)
                data = self._container(quantised, z, residuals, tables, progress)
        return Stream(
            data=data,
            width=symbols.width,
            height=symbols.height,
            quality=symbols.position.quality,
            model=self.name,
            probes=quantised.probes,
            target=quantised.target,
            target_met=budget is None or meets(budget, len(data)),
        )

    @single_threaded()
    def read(self, stream: Bitstream, progress: Progress = UNINTERRUPTED) -> Symbols:
        """Decode the sections of a stream of this model; `progress` may end the work by raising.

        Raises a `BitstreamError`, a subclass per cause.
        """
        if stream.codec is not CodecKind.LEARNED or stream.model_id.hex() != self.model_id:
            raise UnknownModelError(stream.model_id.hex())
        alpha = decode_alpha(stream)
        overlay = _overlay(stream)
        rows, columns = latent_size(stream.height, stream.width)
        z = self._coder.decode_z(stream.z, *hyper_size(rows, columns))
        indices = self._indices(z, rows, columns, progress)
        return Symbols(
            width=stream.width,
            height=stream.height,
            position=stream.position,
            greyscale=stream.greyscale,
            postprocess=stream.postprocess,
            z=z,
            residuals=self._coder.decode_residuals(stream.y, indices, progress),
            alpha=alpha,
            coded=z.size + int(np.count_nonzero(indices)),
            overlay=overlay,
        )

    def _indices(self, z: NDArray[np.int8], rows: int, columns: int, progress: Progress) -> NDArray[np.uint8]:
        """Run the scale decoder: tables (M, rows, columns) before their context corrects them."""
        return self._scale_decoder(z, progress=progress)[:, :rows, :columns]

    def _container(
        self,
        quantised: Quantised,
        z: bytes,
        residuals: NDArray[np.int16],
        tables: NDArray[np.uint8],
        progress: Progress,
    ) -> bytes:
        symbols = quantised.symbols
        return Bitstream(
            codec=CodecKind.LEARNED,
            model_id=bytes.fromhex(self.model_id),
            width=symbols.width,
            height=symbols.height,
            position=symbols.position,
            greyscale=symbols.greyscale,
            postprocess=symbols.postprocess,
            z=z,
            y=self._coder.encode_residuals(residuals, tables, progress),
            alpha=quantised.alpha,
        ).to_bytes()

    def _shrink_to_fit(
        self, residuals: NDArray[np.int16], tables: NDArray[np.uint8], bits: float
    ) -> NDArray[np.int16]:
        """Save at least `bits` where possible: the residuals that save most by a step towards zero
        take it.

        Those of the last pass do, where they could save several times as much. Means of later
        passes were predicted with the others, so that a step of one spoils what is around it.

        Args:
            residuals: (M, h, w).
            tables: of each, as its context corrects it (M, h, w).
            bits: to save.
        """
        shrunk = residuals.flatten()
        nonzero = np.flatnonzero(shrunk)
        table = tables.ravel()[nonzero]
        magnitude = np.abs(shrunk[nonzero].astype(np.int32))
        before = self._residual_bits[table, np.minimum(magnitude, LARGEST_SUPPORT + 1)]
        after = self._residual_bits[table, np.minimum(magnitude - 1, LARGEST_SUPPORT + 1)]
        saved = before - after
        last = _in_last_pass(residuals.shape).ravel()[nonzero]
        if saved[last].clip(0).sum() > 4 * bits:
            nonzero, saved = nonzero[last], saved[last]
        order = np.argsort(-saved, kind="stable")
        chosen = nonzero[order[: np.searchsorted(np.cumsum(saved[order]), bits) + 1]]
        shrunk[chosen] -= np.sign(shrunk[chosen])
        return shrunk.reshape(residuals.shape)


def _overlay(stream: Bitstream) -> Overlay | None:
    """Decode the overlay of a stream, if it has one. Raises `DamagedStreamError`."""
    if stream.overlay is None:
        return None
    return unpack(stream.overlay, width=stream.width, height=stream.height, mono=stream.greyscale)


def _in_last_pass(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mark the elements (M, h, w) that are decoded last."""
    last = np.zeros(shape, np.bool_)
    for row, column in PASSES[-1]:
        last[:, row::2, column::2] = True
    return last
