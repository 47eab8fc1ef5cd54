"""Roofline: what the stages of the codec compute and move, against what this machine can.

A stage takes at least its operations over the machine's peak and its bytes over the bandwidth,
whichever is more. Its share of the peak is that time over the time that it took.

Operations are two for each multiplication and addition. Bytes are what its convolutions and matrix
products read and write, each once: what lies between them could be fused into them. Stages without
products move their input and their output.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.bare import Bare
from models import Picture, Target, threads
from models.bitstream import Bitstream
from models.entropy.blas import single_threaded
from models.entropy.context_model import ContextNetworks, coded_channels
from models.entropy.scale_decoder_torch import ExactScaleDecoder, PictureScaleDecoder
from models.grid import PASSES, STRIDE
from models.learned.codec import LearnedCodec
from models.learned.model import CodecModel
from models.postprocess.sources import Source
from models.tensors import to_batch
from models.weights import registry
from service.images import ImageFormat
from service.images import encode as to_file

SIDE = 2048  # of the matrices whose product is the peak
CHANNELS = 256  # of the convolution that may be it instead
COPIED = 1 << 28  # bytes that a copy reads
REPEATS = 5  # of each of these; the fastest counts
_aten = torch.ops.aten
PRODUCTS = frozenset({_aten.convolution, _aten.mm, _aten.addmm, _aten.bmm, _aten.baddbmm})


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a stage.

    Attributes:
        operations: two for each multiplication with its addition.
        moved: bytes that are read and written.
        bfloat16: whether its products are in the dtype of the transforms, which may be bfloat16;
            else in float32.
    """

    operations: int
    moved: int
    bfloat16: bool = False


@dataclass(frozen=True, slots=True)
class Peaks:
    """The peaks of the machine, measured.

    Attributes:
        bfloat16: operations a second; None where the transforms are in float32.
        float32: operations a second.
        copied: bytes a second, read and written.
    """

    bfloat16: float | None
    float32: float
    copied: float

    def least_seconds(self, work: Work) -> float:
        """Compute the time that a stage takes at least."""
        peak = self.bfloat16 if work.bfloat16 and self.bfloat16 else self.float32
        return max(work.operations / peak, work.moved / self.copied)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the codec, on one picture, ready to run.

    Attributes:
        title: "encode" or "decode", and its name.
        run: does it once.
        work: what it has to do.
        contains: titles of stages before it that `run` does as well, and that are to be taken off.
    """

    title: str
    run: Callable[[], object]
    work: Work
    contains: tuple[str, ...] = ()


class _Moved(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what products read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        if func.overloadpacket in PRODUCTS:
            tensors = [value for value in (*args, result) if isinstance(value, Tensor)]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def counted(function: Callable[[], object], *, bfloat16: bool = False) -> Work:
    """Count what the products of `function()` do, as they are dispatched."""
    with _Moved() as moved, FlopCounterMode(display=False) as operations:
        function()
    return Work(operations.get_total_flops(), moved.bytes, bfloat16)


def measured_peaks(*, bfloat16: bool) -> Peaks:
    """Measure what this process can with the threads that it has."""
    source = torch.zeros(COPIED // 4)
    target = torch.empty_like(source)
    seconds = fastest(lambda: target.copy_(source))
    return Peaks(
        bfloat16=_peak(torch.bfloat16) if bfloat16 else None,
        float32=_peak(torch.float32),
        copied=2 * COPIED / seconds,
    )


def fastest(function: Callable[[], object], repeats: int = REPEATS) -> float:
    """Take the least of the seconds that `function` needs, after one run that does not count."""
    function()
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        function()
        taken.append(time.perf_counter() - begun)
    return min(taken)


def _peak(dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product, or of a convolution where that is faster."""
    left = torch.rand(SIDE, SIDE).to(dtype)
    right = torch.rand(SIDE, SIDE).to(dtype)
    x = torch.rand(1, CHANNELS, 128, 128).to(dtype).contiguous(memory_format=torch.channels_last)
    filters = torch.rand(CHANNELS, CHANNELS, 3, 3).to(dtype).contiguous(memory_format=torch.channels_last)
    rates = []
    for function in (
        partial(torch.mm, left, right),
        partial(torch.conv2d, x, filters, padding=1),
    ):
        with torch.inference_mode():
            rates.append(counted(function).operations / fastest(function))
    return max(rates)


def stages_of(
    codec: LearnedCodec, bare: Bare, picture: Picture, target: Target, *, bfloat16: bool
) -> list[Stage]:
    """List the stages of encoding a picture and of decoding it, in their order.

    What the transforms have to do is counted on the bare network, so that it does not depend on how
    the codec runs it.
    """
    assert codec.post_processor is not None
    model = CodecModel.load(registry.weights(codec.name))
    transforms = codec._transforms
    with torch.inference_mode():
        quantised = codec.quantise([picture], [target])[0]
        stream = codec.symbol_codec.write(quantised).data
        parsed = Bitstream.parse(stream)
        symbols = codec.symbol_codec.read(codec.decided(parsed, "auto"))
        decoded = codec.reconstruct([symbols])[0]
        x = to_batch([picture.rgb], torch.device("cpu"), multiple=STRIDE)
        with bare.autocast():
            y = bare.g_a(x).float()
    z = torch.from_numpy(symbols.z)[None].float()
    r_hat = torch.from_numpy(symbols.residuals)[None].float()
    anchors = transforms.anchors([symbols.position])

    @torch.inference_mode()
    def mean() -> Tensor:
        return transforms.mean(z, anchors, r_hat, lambda low: r_hat[:, : low.shape[1]])

    def of_bare(transform: Callable[..., Tensor], *tensors: Tensor) -> Work:
        @torch.inference_mode()
        def run() -> None:
            with bare.autocast():
                transform(*tensors)

        return counted(run, bfloat16=bfloat16)

    condition = torch.zeros(1, 2)
    padded = torch.nn.functional.pad(y, (0, -y.shape[-1] % 4, 0, -y.shape[-2] % 4))
    scales = scale_work(model.scale_decoder, z.shape[-2] * z.shape[-1])
    coder = Work(0, symbols.residuals.nbytes + quantised.tables.nbytes + len(stream))
    residuals = symbols.residuals
    indices = model.scale_decoder.integer()(symbols.z)[:, : residuals.shape[1], : residuals.shape[2]]
    coded = coded_channels(indices)  # the decoder runs the networks of these alone
    networks = model.context_model.of(coded)
    coded_indices, coded_residuals = indices[coded], residuals[coded]
    index, residual = (
        torch.from_numpy(values)[None].contiguous(memory_format=torch.channels_last)
        for values in (indices, residuals)
    )
    means = counted(mean, bfloat16=bfloat16)
    source = Source.learned(codec.model_id, symbols.position)
    improve = codec.post_processor.improve

    def hyper_latents() -> object:
        return transforms.hyper_latents(y, anchors)

    def correct() -> object:
        return codec._encoder._code_lengths.corrected(index, residual)

    @single_threaded()  # as all that the decoder does on its way to symbols
    def correct_by_bands() -> object:
        return networks.all_corrected(coded_indices, coded_residuals)

    scale = PictureScaleDecoder(model.scale_decoder)

    def on_its_threads(run: Callable[[], object]) -> Callable[[], object]:
        """As the codec runs what lies between y and the symbols."""

        def running() -> object:
            with threads.worth(y.numel(), of=threads.LATENTS):
                return run()

        return running

    contexts = context_work(networks, *coded_residuals.shape)
    png = Work(0, decoded.rgb.nbytes + len(to_file(decoded, ImageFormat.PNG)))
    before = ("decode scale decoder", "decode context networks")
    return [
        Stage("encode g_a", lambda: transforms.latents([picture]), of_bare(bare.g_a, x)),
        Stage("encode h_a", on_its_threads(hyper_latents), of_bare(bare.h_a, padded)),
        Stage("encode scale decoder", on_its_threads(lambda: transforms.indices(z, r_hat)), scales),
        Stage("encode mean", on_its_threads(mean), means),
        Stage("encode context networks", on_its_threads(correct), contexts),
        Stage("encode range coder", lambda: codec.symbol_codec.write(quantised), coder),
        Stage("decode scale decoder", lambda: scale(symbols.z), scales),
        Stage("decode context networks", correct_by_bands, contexts),
        Stage("decode range coder", lambda: codec.symbol_codec.read(parsed), coder, before),
        Stage("decode mean", on_its_threads(mean), means),
        Stage("decode g_s", lambda: transforms.pictures([symbols]), of_bare(bare.g_s, y), ("decode mean",)),
        Stage("decode post", lambda: improve([decoded], [source]), of_bare(bare.post, x, condition)),
        Stage("decode PNG", lambda: to_file(decoded, ImageFormat.PNG), png),
    ]


def scale_work(decoder: ExactScaleDecoder, hyper_latents: int) -> Work:
    """Count what the scale decoder of one picture does, in float32.

    torch does not count the products of bytes that it runs in where they are exact.

    Args:
        decoder: has three layers, each but the last followed by depth to space.
        hyper_latents: places of z.
    """
    operations = 0
    moved = 0
    for number, layer in enumerate(decoder.layers):
        places = hyper_latents * 4**number
        channels_out, channels_in = layer.weight.shape[:2]
        operations += 2 * channels_out * channels_in * 9 * places
        moved += 4 * (channels_out + 9 * channels_in) * places
    return Work(operations, moved)


def context_work(model: ContextNetworks, latents: int, rows: int, columns: int) -> Work:
    """Count what the context networks of one picture do band by band, in float32.

    torch cannot count it: they run in NumPy.

    Args:
        model: has them.
        latents: channels of the residuals.
        rows, columns: of the residuals.
    """
    operations = 0
    moved = 2 * latents * rows * columns  # indices in, and out
    for networks, phases in zip(model.networks, PASSES, strict=True):
        places = rows * columns * len(phases) // sum(map(len, PASSES))
        for layer in (layer for network in networks for layer in network):
            channels_out, channels_in = layer.weight.shape
            operations += 2 * channels_out * channels_in * places
            moved += 4 * (channels_out + channels_in) * places
    return Work(operations, moved)
