"""The device's share of the codec at one quality, on tensors of one shape: what a GPU runs.

    pixels --g_a, h_a, scale decoder, mean, context networks--> z, residuals, tables
    z, residuals --mean, g_s (, post)--> pixels

It is what `LearnedCodec.quantise` and `reconstruct` do between their copies, without rate control,
tiles and Python objects, so that it can be captured as a CUDA graph or compiled for its shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from models.learned.codec import LearnedCodec
from models.learned.encoder import _Quantiser
from models.postprocess.sources import Source
from models.rate_control.position import Position

Function = Callable[..., "tuple[Tensor, ...]"]


class Coded(NamedTuple):
    """The symbols of a batch as the entropy coder takes them, in the smallest types.

    Attributes:
        z: int8 (N, C, h / 4, w / 4).
        residuals: int16 (N, M, h, w).
        tables: of the residuals, as the context model corrects them, uint8 (N, M, h, w).
    """

    z: Tensor
    residuals: Tensor
    tables: Tensor


class DeviceCodec:
    """One codec's networks at one quality, for batches of `count` pictures of one shape.

    Args:
        codec: its networks and its device.
        position: on the gain axis, of all pictures.
        count: pictures in a batch.
    """

    def __init__(self, codec: LearnedCodec, position: Position, count: int) -> None:
        self._transforms = codec._transforms
        self._network = codec._transforms.network
        self._dead_zone = codec._encoder._dead_zone
        self._code_lengths = codec._encoder._code_lengths
        self._anchors = self._transforms.anchors([position] * count)
        post_processor = codec.post_processor
        assert post_processor is not None
        self._post = post_processor._network
        source = Source.learned(codec.model_id, position)
        kind = post_processor.topology.kinds.index(source.kind)
        condition = self._post.condition(kind, source.coarseness)
        self._condition = condition.to(codec.device).expand(count, -1).contiguous()

    def encode(self, pixels: Tensor) -> Coded:
        """Quantise pixels uint8 (N, H, W, 3), H and W multiples of 16."""
        x = pixels.permute(0, 3, 1, 2).float().div_(255)
        y = self._network.g_a(x).float()
        scaled = self._network.scaled(y, self._anchors)
        with self._transforms.autocast():
            z = self._network.side_information(scaled).round_()
        z = z.clamp_(self._transforms._z_low, self._transforms._z_high)
        indices = self._transforms.indices(z, scaled).contiguous()
        quantiser = _Quantiser(scaled, self._dead_zone[indices.int()])
        mean = self._transforms.mean(z, self._anchors, scaled, quantiser)
        residuals = quantiser(mean).to(torch.int16, memory_format=torch.contiguous_format)
        return Coded(z.to(torch.int8), residuals, self._code_lengths.corrected(indices, residuals))

    def decode(self, z: Tensor, residuals: Tensor) -> tuple[Tensor]:
        """Synthesise pixels uint8 (N, H, W, 3), as they come out of g_s."""
        return (_pixels(self._synthesised(z, residuals)),)

    def decode_and_improve(self, z: Tensor, residuals: Tensor) -> tuple[Tensor]:
        """Synthesise pixels uint8 (N, H, W, 3) and post-process them."""
        rounded = self._synthesised(z, residuals).clamp_(0, 1).mul_(255).round_().div_(255)
        return (_pixels(self._post(rounded, self._condition)),)

    def _synthesised(self, z: Tensor, residuals: Tensor) -> Tensor:
        r_hat = residuals.float()
        mean = self._transforms.mean(z.float(), self._anchors, r_hat, lambda mean: r_hat[:, : mean.shape[1]])
        y_hat = self._network.dequantised(r_hat, mean, self._anchors)
        x_hat: Tensor = self._network.g_s(y_hat.contiguous(memory_format=torch.channels_last))
        return x_hat


def _pixels(x: Tensor) -> Tensor:
    return x.clamp_(0, 1).mul_(255).round_().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


# Ways to run a function of tensors of one shape


def eager(function: Function, inputs: tuple[Tensor, ...]) -> Function:
    """Call it as it is."""
    return function


def graph(function: Function, inputs: tuple[Tensor, ...]) -> Function:
    """Capture it as a CUDA graph, whose outputs are the same tensors every time.

    Raises:
        RuntimeError: it is no GPU, or something in it cannot be captured.
    """
    if inputs[0].device.type != "cuda":
        raise RuntimeError("CUDA graphs need a GPU")
    placed = tuple(tensor.clone() for tensor in inputs)
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):  # whatever is chosen, loaded or allocated at first
            function(*placed)
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        outputs = function(*placed)

    def replay(*tensors: Tensor) -> tuple[Tensor, ...]:
        for place, tensor in zip(placed, tensors, strict=True):
            place.copy_(tensor, non_blocking=True)
        captured.replay()
        return outputs

    return replay


def compiled(function: Function, inputs: tuple[Tensor, ...]) -> Function:
    """Compile it for its shape, and run it once."""
    made: Function = torch.compile(function, dynamic=False)
    made(*inputs)
    return made


MODES: dict[str, Callable[[Function, tuple[Tensor, ...]], Function]] = {
    "eager": eager,
    "graph": graph,
    "compile": compiled,
}
