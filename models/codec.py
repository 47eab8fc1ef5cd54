"""Codec: pictures to streams and back, in batches. The only door that the service and the command line use.

    encode   pictures --pad, stack--> y --gain, h_a--> z_hat --exact--> table index --> r_hat --range coder--> container
                                      +-- rate control repeats what is right of y until the budget is met
    decode   container --range coder--> z_hat --exact--> table index --range coder--> r_hat --mean, gain, g_s--> pictures

The transforms take 16-pixel blocks: pictures are padded by replication to whole blocks and cropped on the way back. Only those blocks'
latents are coded; the hyperprior pads them to multiples of four by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models import registry
from models.alpha import decode_alpha, encode_alpha
from models.bitstream import Bitstream, CodecKind, header_bytes
from models.card import ModelCard
from models.entropy.coder import SymbolCoder
from models.entropy.tables import LARGEST_RESIDUAL, WIDEST
from models.errors import UnknownModelError, WeightsError
from models.model import CodecModel
from models.network.autoencoder import HYPER_STRIDE, STRIDE
from models.network.precision import placed, transform_autocast
from models.picture import Picture
from models.rate_control import FINEST, Search, Target

BATCH_PIXELS = 1 << 22  # images of equal padded size go through the network together up to this many pixels
CODER_BYTES = 4.0  # what two range-coded sections take beyond the tables' code lengths (measured: 1 to 7)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Stream:
    """A compressed picture and how it came out.

    Attributes:
        data: the container.
        width, height: of the picture, in pixels.
        quality: position on the codec's axis, [0, 100].
        model: name of the model.
        probes: positions that rate control looked at (1 when a quality was asked for).
        target: what was asked for.
        target_met: within the budget and at most 1 % (or 8 bytes) under it; always true for a quality. False means that the budget
            lies outside the model's range for this picture: `data` is then the largest stream (under the budget) or the smallest (over
            it) there is.
    """

    data: bytes
    width: int
    height: int
    quality: float
    model: str
    probes: int
    target: Target
    target_met: bool

    @property
    def bpp(self) -> float:
        """Bits of the whole stream per pixel."""
        return 8 * len(self.data) / (self.width * self.height)


@dataclass(frozen=True, slots=True, eq=False)
class _Quantised:
    """Symbols of a batch at given positions: z (N, C, h/4, w/4), residuals and indices (N, M, h, w), code length in bits (N,)."""

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

    Raises:
        WeightsError: card and weights disagree, or the device's arithmetic fails the self-check.
    """

    def __init__(self, model: CodecModel, card: ModelCard, *, device: str = "cpu", bfloat16: bool | None = None) -> None:
        if model.model_id != card.model_id:
            raise WeightsError(f"the weights of {card.name} have id {model.model_id}, their card says {card.model_id}")
        self.card = card
        self.device = torch.device(device)
        self._bfloat16 = bfloat16
        self._network = placed(model.network, self.device)
        self._scale_decoder = model.scale_decoder.to(self.device)
        self._scale_decoder.self_check()
        self._coder = SymbolCoder(model.tables)
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

    @torch.inference_mode()
    def encode(self, pictures: Sequence[Picture], targets: Sequence[Target]) -> list[Stream]:
        """A batch of any sizes, each to its own target; streams in the same order."""
        if len(pictures) != len(targets):
            raise ValueError(f"{len(pictures)} pictures but {len(targets)} targets")
        streams: dict[int, Stream] = {}
        for group in _groups([_blocks(picture.height, picture.width) for picture in pictures]):
            encoded = self._encode_group([pictures[i] for i in group], [targets[i] for i in group])
            streams.update(zip(group, encoded, strict=True))
        return [streams[i] for i in range(len(pictures))]

    @torch.inference_mode()
    def decode(self, streams: Sequence[bytes], *, max_pixels: int | None = None) -> list[Picture]:
        """Streams of this model to pictures; raises the `BitstreamError` of the first that cannot be decoded."""
        parsed = [self._parse(data, max_pixels) for data in streams]
        pictures: dict[int, Picture] = {}
        for group in _groups([_blocks(stream.height, stream.width) for stream in parsed]):
            decoded = self._decode_group([parsed[i] for i in group])
            pictures.update(zip(group, decoded, strict=True))
        return [pictures[i] for i in range(len(parsed))]

    # Encoding

    def _encode_group(self, pictures: list[Picture], targets: list[Target]) -> list[Stream]:
        with transform_autocast(self.device, bfloat16=self._bfloat16):
            y = self._network.g_a(self._to_tensor(pictures)).float()
        alphas = [encode_alpha(picture) for picture in pictures]
        return self._control_rate(y, pictures, alphas, targets)

    def _control_rate(self, y: Tensor, pictures: list[Picture], alphas: list[bytes | None], targets: list[Target]) -> list[Stream]:
        """Probe all images that still search as one batch, until each has its stream."""
        searches = [
            self._search(target.budget(picture.pixels), y[i : i + 1], alpha)
            for i, (picture, target, alpha) in enumerate(zip(pictures, targets, alphas, strict=True))
        ]
        streams: dict[int, Stream] = {}
        while pending := [i for i in range(len(pictures)) if i not in streams]:
            positions = [_wanted(searches[i], targets[i]) for i in pending]
            quantised = self._quantise(y[pending] if len(pending) < len(y) else y, positions)
            for row, (i, position) in enumerate(zip(pending, positions, strict=True)):
                search, picture = searches[i], pictures[i]
                if search is not None and not self._settled(search, position, self._size(quantised, row, alphas[i])):
                    continue
                data = self._write(quantised, row, picture, alphas[i], position)
                if search is not None and len(data) > search.budget and position > 0:
                    search.observe(position, len(data))  # the estimate was too low by a few bytes: go on below
                    continue
                met = search is None or search.met(len(data))
                quality, probes = 100 * position / FINEST, search.probes if search else 1
                streams[i] = Stream(data, picture.width, picture.height, quality, self.name, probes, targets[i], met)
        return [streams[i] for i in range(len(pictures))]

    def _search(self, budget: int | None, y: Tensor, alpha: bytes | None) -> Search | None:
        if budget is None:
            return None
        bits = self._network.significant(y)[0].cpu().numpy() * self._bits_per_significant
        return Search(max(1, budget), header_bytes(0, 0, len(alpha or b"")) + len(alpha or b"") + CODER_BYTES + bits / 8)

    @staticmethod
    def _settled(search: Search, position: int, size: float) -> bool:
        """Tell the search what was found; whether this very position is the result."""
        search.observe(position, size)
        return search.probe is None and search.best == position

    @staticmethod
    def _size(quantised: _Quantised, row: int, alpha: bytes | None) -> float:
        """Predicted size of the stream in bytes."""
        payload = float(quantised.bits[row]) / 8 + CODER_BYTES
        z = round(payload) // 8  # only the length of its varint matters
        return header_bytes(z, round(payload) - z, None if alpha is None else len(alpha)) + payload + len(alpha or b"")

    def _quantise(self, y: Tensor, positions: list[int]) -> _Quantised:
        """The hyper path and the quantiser at one position per image: everything rate control needs, and the symbols to code."""
        height, width = y.shape[-2:]
        scaled = self._network.scaled(y, self._quality(positions))
        with transform_autocast(self.device, bfloat16=self._bfloat16):
            z = self._network.side_information(scaled).round().clamp(self._z_low, self._z_high)
            mean = self._network.mean(z, height, width)
        indices = self._scale_decoder(z)[..., :height, :width]
        residuals = (scaled - mean).round_().clamp_(-LARGEST_RESIDUAL, LARGEST_RESIDUAL).masked_fill_(indices == 0, 0)
        magnitude = residuals.abs().clamp_(max=WIDEST + 1).int()
        row = indices.int() * (WIDEST + 2)
        bits = self._residual_bits.view(-1)[magnitude.add_(row)].double().sum((1, 2, 3))
        symbol = (z - self._z_low).long()
        channel = torch.arange(z.shape[1], device=self.device).view(1, -1, 1, 1)
        return _Quantised(z, residuals, indices, bits + self._z_bits[channel, symbol].double().sum((1, 2, 3)))

    def _write(self, quantised: _Quantised, row: int, picture: Picture, alpha: bytes | None, position: int) -> bytes:
        z = quantised.z[row].cpu().numpy().astype(np.int32)
        residuals = quantised.residuals[row].cpu().numpy().astype(np.int32)
        return Bitstream(
            codec=CodecKind.LEARNED,
            model_id=bytes.fromhex(self.model_id),
            width=picture.width,
            height=picture.height,
            quality=position,
            greyscale=picture.greyscale,
            postprocess=False,
            z=self._coder.encode_z(z),
            y=self._coder.encode_residuals(residuals, quantised.indices[row].cpu().numpy()),
            alpha=alpha,
        ).to_bytes()

    # Decoding

    def _parse(self, data: bytes, max_pixels: int | None) -> Bitstream:
        stream = Bitstream.parse(data, max_pixels=max_pixels)
        if stream.codec is not CodecKind.LEARNED or stream.model_id.hex() != self.model_id:
            raise UnknownModelError(stream.model_id.hex())
        return stream

    def _read_symbols(self, streams: list[Bitstream]) -> tuple[Tensor, Tensor]:
        """z (N, C, h/4, w/4) and residuals (N, M, h, w) of streams of equal size: integers, the same on every device."""
        height, width = _blocks(streams[0].height, streams[0].width)
        hyper = -(-height // HYPER_STRIDE), -(-width // HYPER_STRIDE)
        z = torch.from_numpy(np.stack([self._coder.decode_z(stream.z, *hyper) for stream in streams])).float().to(self.device)
        indices = self._scale_decoder(z)[..., :height, :width].cpu().numpy()
        residuals = np.stack([self._coder.decode_residuals(stream.y, index) for stream, index in zip(streams, indices, strict=True)])
        return z, torch.from_numpy(residuals).float().to(self.device)

    def _decode_group(self, streams: list[Bitstream]) -> list[Picture]:
        alphas = [decode_alpha(stream) for stream in streams]
        z, r_hat = self._read_symbols(streams)
        with transform_autocast(self.device, bfloat16=self._bfloat16):
            mean = self._network.mean(z, *r_hat.shape[-2:])
            x_hat = self._network.reconstruct(r_hat, mean, self._quality([stream.quality for stream in streams]))
        pixels = x_hat.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return [_picture(stream, image, alpha) for stream, image, alpha in zip(streams, pixels, alphas, strict=True)]

    # Both

    def _quality(self, positions: list[int]) -> Tensor:
        """Positions 0..65535 as the network's quality."""
        quality: Tensor = torch.tensor(positions, device=self.device) / FINEST * (self._network.topology.anchors - 1)
        return quality

    def _to_tensor(self, pictures: list[Picture]) -> Tensor:
        """Pictures padded to whole blocks as one float batch (N, 3, H, W) in [0, 1], channels last in memory."""
        padded = [
            np.pad(picture.rgb, ((0, -picture.height % STRIDE), (0, -picture.width % STRIDE), (0, 0)), mode="edge") for picture in pictures
        ]
        return torch.from_numpy(np.stack(padded)).to(self.device).permute(0, 3, 1, 2).float().div_(255)


def _wanted(search: Search | None, target: Target) -> int:
    """The position to look at next: the search's, or the quality asked for."""
    if search is None:
        return round((target.quality or 0.0) / 100 * FINEST)
    return search.best if search.probe is None else search.probe


def _blocks(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of latents."""
    return -(-height // STRIDE), -(-width // STRIDE)


def _groups(sizes: list[tuple[int, int]]) -> Iterator[list[int]]:
    """Indices of equal sizes, in batches of at most BATCH_PIXELS (a single larger image goes alone)."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for i, size in enumerate(sizes):
        by_size.setdefault(size, []).append(i)
    for (rows, columns), members in by_size.items():
        count = max(1, BATCH_PIXELS // (rows * columns * STRIDE**2))
        for start in range(0, len(members), count):
            yield members[start : start + count]


def _picture(stream: Bitstream, pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None) -> Picture:
    """Cropped to the header's size, and grey when the original was."""
    rgb = np.ascontiguousarray(pixels[: stream.height, : stream.width])
    if stream.greyscale:
        luma = (rgb @ LUMA).round().astype(np.uint8)
        rgb = np.repeat(luma[..., None], 3, axis=2)
    return Picture(rgb=rgb, alpha=alpha, greyscale=stream.greyscale)
