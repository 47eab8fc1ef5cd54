"""What the device does with a batch: compress, decompress, and measure what compressing did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import Codec, Picture, Stream, Target
from models.metrics import ms_ssim, psnr
from models.network.grid import STRIDE


class Measure(Enum):
    """A full-reference metric that a client can ask for."""

    PSNR = "psnr"
    MS_SSIM = "ms-ssim"


_MEASURES: Mapping[Measure, Callable[[Tensor, Tensor], Tensor]] = {Measure.PSNR: psnr, Measure.MS_SSIM: ms_ssim}


@dataclass(frozen=True, slots=True, eq=False)
class CompressTask:
    """One picture, its budget, and what to measure afterwards."""

    picture: Picture
    target: Target
    report: frozenset[Measure]


@dataclass(frozen=True, slots=True)
class Timings:
    """Where a request's time in the engine went, in seconds: waiting for the device, its batches there, the entropy coder."""

    queue: float = 0.0
    device: float = 0.0
    entropy: float = 0.0


@dataclass(frozen=True, slots=True)
class Compressed:
    """A stream, and how near its decoded picture is to the original (PSNR in dB, MS-SSIM in [0, 1])."""

    stream: Stream
    report: Mapping[Measure, float]
    timings: Timings = Timings()


@dataclass(frozen=True, slots=True)
class Decompressed:
    """A picture out of its stream."""

    picture: Picture
    timings: Timings


def padded(height: int, width: int) -> tuple[int, int]:
    """The size that a picture has in the network. Only pictures of equal padded size go through it together."""
    return height + -height % STRIDE, width + -width % STRIDE


class LoadedModel:
    """A codec on the device, in the two batch operations of the queue."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def compress(self, tasks: Sequence[CompressTask]) -> list[Compressed]:
        """Streams in the order of the tasks; pictures that are to be measured are decoded again."""
        streams = self.codec.encode([task.picture for task in tasks], [task.target for task in tasks])
        measured = [index for index, task in enumerate(tasks) if task.report]
        decoded = dict(zip(measured, self.codec.decode([streams[index].data for index in measured]), strict=True)) if measured else {}
        return [
            Compressed(stream, self._measure(task, decoded[index]) if index in decoded else {})
            for index, (task, stream) in enumerate(zip(tasks, streams, strict=True))
        ]

    def decompress(self, streams: Sequence[bytes]) -> list[Picture]:
        """Pictures in the order of the streams. Raises `BitstreamError`s."""
        return self.codec.decode(streams)

    def _measure(self, task: CompressTask, decoded: Picture) -> dict[Measure, float]:
        x_hat, x = self._tensor(decoded.rgb), self._tensor(task.picture.rgb)
        with torch.inference_mode():
            return {measure: float(_MEASURES[measure](x_hat, x)) for measure in task.report}

    def _tensor(self, rgb: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(rgb).to(self.codec.device).permute(2, 0, 1)[None].float() / 255
