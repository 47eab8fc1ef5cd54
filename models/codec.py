"""Codec: pictures to streams and back, in batches. The only door that the service and the command line use.

    encode   pictures --pad, stack--> y --gain, h_a--> z_hat --exact--> table index --> r_hat --symbol codec--> container
                                      +-- rate control repeats what is right of y until the budget is met
    decode   container --symbol codec--> z_hat, r_hat --mean, gain, g_s--> pictures

Both are two stages: `quantise` and `reconstruct` on the device, and `SymbolCodec` on the CPU, which may be another process's.

The transforms take 16-pixel blocks: pictures are padded by replication to whole blocks and cropped on the way back. Only those blocks'
latents are coded; the hyperprior pads them to multiples of four by itself. Every transform runs over the tiles of `models.tiles`, of which
an ordinary picture has one: what is kept of the whole is y (5 bytes a pixel) or residuals, table indices and pixels (1 to 3).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models import registry
from models.alpha import encode_alpha
from models.bitstream import header_bytes
from models.card import ModelCard
from models.entropy.tables import LARGEST_RESIDUAL, WIDEST
from models.errors import WeightsError
from models.model import CodecModel
from models.network.grid import HYPER_PIXELS, HYPER_STRIDE, STRIDE, hyper_size, latent_size
from models.network.precision import placed, transform_autocast
from models.picture import Picture
from models.rate_control import FINEST, Search, Target
from models.symbol_codec import SymbolCodec
from models.symbols import Quantised, Stream, Symbols
from models.tiles import Tile, tiles

TILE = 32  # hyper-latents on a side, 2048 pixels: at most 0.8 GB of activations; tiles of 768 pixels cost 18 % more time than none
BATCH_PIXELS = 1 << 22  # images of equal padded size go through the network together up to this many pixels
CODER_BYTES = 4.0  # what two range-coded sections take beyond the tables' code lengths (measured: 1 to 7)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Probe:
    """A batch at given positions: z (N, C, h/4, w/4), int16 residuals and uint8 indices (N, M, h, w), code length in bits (N,)."""

    z: Tensor
    residuals: Tensor
    indices: Tensor
    bits: Tensor


class Codec:
    """One model on one device. Not thread-safe: give it to one thread.

    Args:
        model: weights, exact scale decoder, tables.
        card: of the model.
        device: where the transforms run.
        bfloat16: run the transforms in bfloat16 or not; None takes what the device is fast at. Streams decode alike either way.
        tile: side in hyper-latents (64 pixels) of the tiles that a picture of more than so many squared goes through in.

    Raises:
        WeightsError: card and weights disagree, or the device's arithmetic fails the self-check.
    """

    def __init__(self, model: CodecModel, card: ModelCard, *, device: str = "cpu", bfloat16: bool | None = None, tile: int = TILE) -> None:
        if model.model_id != card.model_id:
            raise WeightsError(f"the weights of {card.name} have id {model.model_id}, their card says {card.model_id}")
        self.card = card
        self.device = torch.device(device)
        self._bfloat16 = bfloat16
        self._tile = tile
        self._network = placed(model.network, self.device)
        self._scale_decoder = model.scale_decoder.to(self.device)
        self._scale_decoder.self_check()
        self.symbol_codec = SymbolCodec(card.name, card.model_id, model.tables, model.scale_decoder.integer())
        self._residual_bits = torch.from_numpy(model.tables.laplace_bits()).to(self.device)
        self._z_bits = torch.from_numpy(model.tables.z_bits()).to(self.device)
        self._z_low, self._z_high = (
            torch.from_numpy(limit).float().view(1, -1, 1, 1).to(self.device) for limit in (model.tables.z_low, model.tables.z_high)
        )
        self._bits_per_significant = model.bits_per_significant.double().numpy()

    @classmethod
    def load(cls, name: str = "ms-ssim", *, device: str = "cpu", bfloat16: bool | None = None) -> Codec:
        """One of `registry.available()`."""
        return cls(CodecModel.load(registry.weights(name)), registry.card(name), device=device, bfloat16=bfloat16)

    @property
    def name(self) -> str:
        """Of the model: "psnr" or "ms-ssim"."""
        return self.card.name

    @property
    def model_id(self) -> str:
        """8 hex digits, as in every stream of this model."""
        return self.card.model_id

    def compress(
        self,
        image: Image.Image | NDArray[np.uint8] | Picture,
        *,
        bpp: float | None = None,
        max_bytes: int | None = None,
        quality: float | None = None,
    ) -> Stream:
        """One image (Pillow, uint8 (H, W, 3) or Picture) to a stream; exactly one of the three targets, see `Target`."""
        if isinstance(image, Image.Image):
            image = Picture.from_image(image)
        elif not isinstance(image, Picture):
            image = Picture.from_array(image)
        return self.encode([image], [Target(bpp, max_bytes, quality)])[0]

    def decompress(self, data: bytes) -> Image.Image:
        """A stream of this model to a Pillow image; BitstreamError (a subclass per cause) when that is not what it is."""
        return self.decode([data])[0].to_image()

    def encode(self, pictures: Sequence[Picture], targets: Sequence[Target]) -> list[Stream]:
        """A batch of any sizes, each to its own target; streams in the same order."""
        return [self.symbol_codec.write(quantised) for quantised in self.quantise(pictures, targets)]

    def decode(self, streams: Sequence[bytes], *, max_pixels: int | None = None) -> list[Picture]:
        """Streams of this model to pictures; raises the `BitstreamError` of the first that cannot be decoded."""
        return self.reconstruct([self.symbol_codec.read(data, max_pixels=max_pixels) for data in streams])

    @torch.inference_mode()
    def quantise(self, pictures: Sequence[Picture], targets: Sequence[Target]) -> list[Quantised]:
        """The device's share of `encode`: a batch of any sizes, each at the position that its target allows."""
        if len(pictures) != len(targets):
            raise ValueError(f"{len(pictures)} pictures but {len(targets)} targets")
        quantised: dict[int, Quantised] = {}
        for group in _groups([latent_size(picture.height, picture.width) for picture in pictures]):
            found = self._quantise_group([pictures[i] for i in group], [targets[i] for i in group])
            quantised.update(zip(group, found, strict=True))
        return [quantised[i] for i in range(len(pictures))]

    @torch.inference_mode()
    def reconstruct(self, symbols: Sequence[Symbols]) -> list[Picture]:
        """The device's share of `decode`: a batch of any sizes; pictures in the same order."""
        pictures: dict[int, Picture] = {}
        for group in _groups([one.residuals.shape[1:] for one in symbols]):
            reconstructed = self._reconstruct_group([symbols[i] for i in group])
            pictures.update(zip(group, reconstructed, strict=True))
        return [pictures[i] for i in range(len(symbols))]

    # Encoding

    def _quantise_group(self, pictures: list[Picture], targets: list[Target]) -> list[Quantised]:
        """Probe all images that still search as one batch, until each has found its position."""
        y = self._latents(pictures)
        alphas = [encode_alpha(picture) for picture in pictures]
        searches = [
            self._search(target.budget(picture.pixels), y[i : i + 1], alpha)
            for i, (picture, target, alpha) in enumerate(zip(pictures, targets, alphas, strict=True))
        ]
        found: dict[int, Quantised] = {}
        begun = time.perf_counter()  # a budget's search has waited for y on the device; without one there is hardly anything to measure
        while pending := [i for i in range(len(pictures)) if i not in found]:
            positions = [_wanted(searches[i], targets[i]) for i in pending]
            probe = self._probe(y[pending] if len(pending) < len(y) else y, positions)
            for row, (i, position) in enumerate(zip(pending, positions, strict=True)):
                search, size = searches[i], self._size(probe, row, alphas[i])
                if search is None or self._settled(search, position, size):
                    found[i] = Quantised(
                        symbols=self._symbols(probe, row, pictures[i], position),
                        indices=np.ascontiguousarray(probe.indices[row].cpu().numpy()),
                        alpha=alphas[i],
                        target=targets[i],
                        budget=search.budget if search else None,
                        predicted=size,
                        probes=search.probes if search else 1,
                        search_seconds=0.0,
                    )
            del probe  # before the next: it is as large as what remains of the pictures
        seconds = time.perf_counter() - begun
        return [replace(found[i], search_seconds=seconds) for i in range(len(pictures))]

    def _latents(self, pictures: list[Picture]) -> Tensor:
        """y (N, M, h, w) of pictures of equal padded size, channels last in memory."""
        rows, columns = latent_size(pictures[0].height, pictures[0].width)
        shape = len(pictures), self._network.topology.latents, rows, columns
        y = torch.empty(shape, device=self.device, memory_format=torch.channels_last)
        for tile in self._tiles(rows, columns):
            with transform_autocast(self.device, bfloat16=self._bfloat16):
                part = self._network.g_a(self._to_tensor([picture.rgb[tile.outer(HYPER_PIXELS)] for picture in pictures]))
            y[..., *tile.inner(HYPER_STRIDE)] = part[..., *tile.within(HYPER_STRIDE)]
        return y

    def _search(self, budget: int | None, y: Tensor, alpha: bytes | None) -> Search | None:
        if budget is None:
            return None
        parts = [self._network.significant(y[..., *tile.inner(HYPER_STRIDE)]) for tile in self._tiles(*y.shape[-2:])]
        bits = (1 + torch.cat(parts).sum(0)).cpu().numpy() * self._bits_per_significant
        return Search(max(1, budget), header_bytes(0, 0, len(alpha or b"")) + len(alpha or b"") + CODER_BYTES + bits / 8)

    @staticmethod
    def _settled(search: Search, position: int, size: float) -> bool:
        """Tell the search what was found; whether this very position is the result."""
        search.observe(position, size)
        return search.probe is None and search.best == position

    @staticmethod
    def _size(probe: _Probe, row: int, alpha: bytes | None) -> float:
        """Predicted size of the stream in bytes."""
        payload = float(probe.bits[row]) / 8 + CODER_BYTES
        z = round(payload) // 8  # only the length of its varint matters
        return header_bytes(z, round(payload) - z, None if alpha is None else len(alpha)) + payload + len(alpha or b"")

    def _probe(self, y: Tensor, positions: list[int]) -> _Probe:
        """The hyper path and the quantiser at one position per image: everything rate control needs, and what to code."""
        quality = self._quality(positions)
        z = self._hyper_latents(y, quality)
        symbol = (z - self._z_low).long()
        channel = torch.arange(z.shape[1], device=self.device).view(1, -1, 1, 1)
        bits = self._z_bits[channel, symbol].double().sum((1, 2, 3))
        residuals = torch.empty(y.shape, dtype=torch.int16, device=self.device)
        indices = torch.empty(y.shape, dtype=torch.uint8, device=self.device)
        for tile in self._tiles(*y.shape[-2:]):
            inner = tile.inner(HYPER_STRIDE)
            scaled = self._network.scaled(y[..., *inner], quality)
            mean = self._mean(z, tile, scaled)
            index = self._scale_decoder(z[..., *tile.outer()])[..., *tile.within(HYPER_STRIDE)][..., : mean.shape[-2], : mean.shape[-1]]
            r_hat = scaled.sub_(mean).round_().clamp_(-LARGEST_RESIDUAL, LARGEST_RESIDUAL).masked_fill_(index == 0, 0)
            magnitude = r_hat.abs().clamp_(max=WIDEST + 1).int()
            bits += self._residual_bits.view(-1)[magnitude.add_(index.int() * (WIDEST + 2))].double().sum((1, 2, 3))
            residuals[..., *inner], indices[..., *inner] = r_hat, index
        return _Probe(z, residuals, indices, bits)

    def _hyper_latents(self, y: Tensor, quality: Tensor) -> Tensor:
        """z_hat (N, C, h/4, w/4)."""
        shape = (len(y), self._network.topology.hyper, *hyper_size(*y.shape[-2:]))
        z = torch.empty(shape, device=self.device, memory_format=torch.channels_last)
        for tile in self._tiles(*y.shape[-2:]):
            scaled = self._network.scaled(y[..., *tile.outer(HYPER_STRIDE)], quality)
            with transform_autocast(self.device, bfloat16=self._bfloat16):
                part = self._network.side_information(scaled).round_().clamp_(self._z_low, self._z_high)
            z[..., *tile.inner()] = part[..., *tile.within()]
        return z

    @staticmethod
    def _symbols(probe: _Probe, row: int, picture: Picture, position: int) -> Symbols:
        return Symbols(
            width=picture.width,
            height=picture.height,
            quality=position,
            greyscale=picture.greyscale,
            z=np.ascontiguousarray(probe.z[row].to(torch.int8).cpu().numpy()),
            residuals=np.ascontiguousarray(probe.residuals[row].cpu().numpy()),
            alpha=picture.alpha,
            coded=probe.z[row].numel() + int(probe.indices[row].count_nonzero()),
        )

    # Decoding

    def _reconstruct_group(self, symbols: list[Symbols]) -> list[Picture]:
        quality = self._quality([one.quality for one in symbols])
        y_hat = self._dequantised(symbols, quality)
        pixels = [np.empty((one.height, one.width, 3), np.uint8) for one in symbols]
        for tile in self._tiles(*y_hat.shape[-2:]):
            with transform_autocast(self.device, bfloat16=self._bfloat16):
                x_hat = self._network.g_s(y_hat[..., *tile.outer(HYPER_STRIDE)])[..., *tile.within(HYPER_PIXELS)].float()
            parts = x_hat.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
            for one, rgb, part in zip(symbols, pixels, parts, strict=True):
                place = rgb[tile.inner(HYPER_PIXELS)]
                part = part[: place.shape[0], : place.shape[1]]
                place[:] = (part @ LUMA).round()[..., None] if one.greyscale else part
        return [Picture(rgb, one.alpha, one.greyscale) for one, rgb in zip(symbols, pixels, strict=True)]

    def _dequantised(self, symbols: list[Symbols], quality: Tensor) -> Tensor:
        """y_hat (N, M, h, w), channels last in memory."""
        z = torch.from_numpy(np.stack([one.z for one in symbols])).to(self.device).float()
        shape = symbols[0].residuals.shape
        y_hat = torch.empty((len(symbols), *shape), device=self.device, memory_format=torch.channels_last)
        for tile in self._tiles(*shape[1:]):
            inner = tile.inner(HYPER_STRIDE)
            r_hat = torch.from_numpy(np.stack([one.residuals[:, *inner] for one in symbols])).to(self.device).float()
            y_hat[..., *inner] = self._network.dequantised(r_hat, self._mean(z, tile, r_hat), quality)
        return y_hat

    # Both

    def _tiles(self, rows: int, columns: int) -> Iterator[Tile]:
        """Over y of `rows` x `columns`."""
        return tiles(*hyper_size(rows, columns), self._tile)

    def _mean(self, z: Tensor, tile: Tile, like: Tensor) -> Tensor:
        """The prediction of scaled y within the tile, in the shape of `like`."""
        (top, _), (left, _) = ((span.start, span.stop) for span in tile.within(HYPER_STRIDE))
        with transform_autocast(self.device, bfloat16=self._bfloat16):
            mean = self._network.mean(z[..., *tile.outer()], top + like.shape[-2], left + like.shape[-1])
        return mean[..., top:, left:]

    def _quality(self, positions: list[int]) -> Tensor:
        """Positions 0..65535 as the network's quality."""
        quality: Tensor = torch.tensor(positions, device=self.device) / FINEST * (self._network.topology.anchors - 1)
        return quality

    def _to_tensor(self, pixels: list[NDArray[np.uint8]]) -> Tensor:
        """Pixels (H, W, 3) padded to whole blocks as one float batch (N, 3, H, W) in [0, 1], channels last in memory."""
        padded = [np.pad(one, ((0, -one.shape[0] % STRIDE), (0, -one.shape[1] % STRIDE), (0, 0)), mode="edge") for one in pixels]
        return torch.from_numpy(np.stack(padded)).to(self.device).permute(0, 3, 1, 2).float().div_(255)


def _wanted(search: Search | None, target: Target) -> int:
    """The position to look at next: the search's, or the quality asked for."""
    if search is None:
        return round((target.quality or 0.0) / 100 * FINEST)
    return search.best if search.probe is None else search.probe


def _groups(sizes: Sequence[tuple[int, ...]]) -> Iterator[list[int]]:
    """Indices of equal sizes, in batches of at most BATCH_PIXELS (a single larger image goes alone).

    Only equal ones: padding the smaller to the size of others would change its y near the right and the bottom border, where the network's
    own padding belongs, and a picture's stream would depend on the company it came in.
    """
    by_size: dict[tuple[int, ...], list[int]] = {}
    for i, size in enumerate(sizes):
        by_size.setdefault(size, []).append(i)
    for (rows, columns), members in by_size.items():
        count = max(1, BATCH_PIXELS // (rows * columns * STRIDE**2))
        for start in range(0, len(members), count):
            yield members[start : start + count]
