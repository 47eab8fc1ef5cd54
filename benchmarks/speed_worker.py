"""The process that `benchmarks.speed` times our codec and its yardsticks in.

    python -m benchmarks.speed_worker JOB

JOB is a `Job` in JSON. Every line that it reads is a list of names of `Subject.measures`: it does
these once, and answers by a line of JSON, seconds per picture by what was done. Or it is
"roofline", and the answer says what the stages have to do and what the machine can.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from PIL import Image
from torch import Tensor

from benchmarks.bare import Bare
from benchmarks.roofline import Stage, measured_peaks, stages_of
from models import Picture, Target
from models.grid import HYPER_STRIDE, STRIDE
from models.learned.codec import LearnedCodec
from models.network.autoencoder import pad_to_multiple
from models.network.precision import transform_autocast
from models.network.tng2018 import TNG2018, PostProcessor
from models.tensors import to_batch

BPP = 0.15
ANCHOR = 4  # of the gain axis, in whose quantiser steps h_a sees y
AVIF_SPEED = 6  # libaom's, 0 to 10; Pillow's default
CPU = torch.device("cpu")

Seconds = dict[str, float]


@dataclass(frozen=True, slots=True)
class Job:
    """The inputs of a worker.

    Attributes:
        files: paths of the pictures.
        profile: of the codec.
        threads: that AVIF may use.
        bfloat16: compute the transforms in bfloat16, else in float32.
        avif_qualities: one for each picture: that makes its AVIF file as large as our stream.
    """

    files: Sequence[str]
    profile: str
    threads: int
    bfloat16: bool
    avif_qualities: Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """The tensors of one picture that the bare network is called on.

    Attributes:
        x: the picture (1, 3, H, W).
        y: of it (1, M, h, w); to g_s it is as good as y_hat.
        scaled: the same in quantiser steps, of whole hyper-latents.
        condition: of the post-processor.
    """

    x: Tensor
    y: Tensor
    scaled: Tensor
    condition: Tensor


class Subject:
    """A codec and its yardsticks, with the pictures at hand.

    Attributes:
        measures: what can be done once, by name.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._images = [read(file) for file in job.files]
        self._pictures = [Picture.from_image(image) for image in self._images]
        self._target = Target(bpp=BPP)
        self._codec = LearnedCodec.load(job.profile, bfloat16=job.bfloat16)
        self._bare = Bare(job.profile, bfloat16=job.bfloat16)
        self._ready = [self._made_ready(picture) for picture in self._pictures]
        self._found_stages: list[Stage] = []
        self._published: tuple[TNG2018, PostProcessor] | None = None
        self.measures: dict[str, Callable[[], Seconds]] = {
            "codec": self.codec,
            "bare": self.bare,
            "avif": self.avif,
            "published": self.published,
            "stages": self.stages,
        }

    @torch.inference_mode()
    def _made_ready(self, picture: Picture) -> Ready:
        x = to_batch([picture.rgb], CPU, multiple=STRIDE)
        with self._bare.autocast():
            y = self._bare.g_a(x).float()
        scaled = pad_to_multiple(self._bare.scaled(y, ANCHOR), HYPER_STRIDE)
        return Ready(x, y, scaled, torch.zeros(1, 2))

    def codec(self) -> Seconds:
        """Encode to a rate, and decode with post-processing: pictures to bytes and back."""
        begun = time.perf_counter()
        streams = [self._codec.encode([picture], [self._target])[0].data for picture in self._pictures]
        encoded = time.perf_counter()
        for stream in streams:
            self._codec.decode([stream], postprocess="on")
        return self._each(encode=encoded - begun, decode=time.perf_counter() - encoded)

    @torch.inference_mode()
    def bare(self) -> Seconds:
        """Run the transforms alone: as 0.3.0 did, and as the codec does."""
        seconds: Seconds = {}
        ways = {"bare": self._bare_transforms(), "own": self._own_transforms()}
        for name, (encode, decode) in ways.items():
            begun = time.perf_counter()
            for ready in self._ready:
                encode(ready)
            encoded = time.perf_counter()
            for ready in self._ready:
                decode(ready)
            seconds[f"{name} encode"] = encoded - begun
            seconds[f"{name} decode"] = time.perf_counter() - encoded
        return self._each(**seconds)

    def _bare_transforms(self) -> tuple[Callable[[Ready], object], Callable[[Ready], object]]:
        bare = self._bare

        def encode(ready: Ready) -> None:
            with bare.autocast():
                bare.g_a(ready.x)
                bare.h_a(ready.scaled)

        def decode(ready: Ready) -> None:
            with bare.autocast():
                bare.post(bare.g_s(ready.y), ready.condition)

        return encode, decode

    def _own_transforms(self) -> tuple[Callable[[Ready], object], Callable[[Ready], object]]:
        assert self._codec.post_processor is not None
        transforms = self._codec._transforms
        network = transforms.network
        post = self._codec.post_processor._network

        def encode(ready: Ready) -> None:
            network.g_a(ready.x)
            with transforms.autocast():
                network.side_information(ready.scaled)

        def decode(ready: Ready) -> None:
            post(network.g_s(ready.y), ready.condition)

        return encode, decode

    def avif(self) -> Seconds:
        """Encode to AVIF files of the same bytes, and decode them."""
        pairs = zip(self._images, self._job.avif_qualities, strict=True)
        begun = time.perf_counter()
        files = [to_avif(image, quality, self._job.threads) for image, quality in pairs]
        encoded = time.perf_counter()
        for file in files:
            Image.open(io.BytesIO(file)).load()
        return self._each(**{"avif encode": encoded - begun, "avif decode": time.perf_counter() - encoded})

    @torch.inference_mode()
    def published(self) -> Seconds:
        """Run the published network on the first picture, without an entropy coder.

        Encoding is f_e, h_e and h_d, decoding h_d, f_d and the post-processor. The seconds are
        those of a picture of mean size.
        """
        if self._published is None:
            torch.manual_seed(0)
            channels_last = torch.channels_last
            self._published = (
                TNG2018().eval().to(memory_format=channels_last),  # type: ignore[call-overload]
                PostProcessor().eval().to(memory_format=channels_last),  # type: ignore[call-overload]
            )
        network, post = self._published
        x = pad_to_multiple(self._ready[0].x, STRIDE * HYPER_STRIDE)
        with transform_autocast(CPU, bfloat16=self._job.bfloat16):
            begun = time.perf_counter()
            y = network.f_e(x)
            z_hat = network.h_e(y).round()
            network.h_d(z_hat)
            encoded = time.perf_counter()
            network.h_d(z_hat)
            post(network.f_d(y.round()))
            decoded = time.perf_counter()
        pixels = [picture.pixels for picture in self._pictures]
        mean = sum(pixels) / len(pixels) / pixels[0]
        return {
            "published encode": mean * (encoded - begun),
            "published decode": mean * (decoded - encoded),
        }

    @torch.inference_mode()
    def stages(self) -> Seconds:
        """Run every stage of the codec by itself, on the first picture."""
        seconds: Seconds = {}
        for stage in self._stages():
            begun = time.perf_counter()
            stage.run()
            seconds[stage.title] = time.perf_counter() - begun
        return seconds

    def roofline(self) -> dict[str, object]:
        """Measure the machine, and count what the stages have to do."""
        peaks = measured_peaks(bfloat16=self._job.bfloat16)
        stages = [
            {
                "title": stage.title,
                **asdict(stage.work),
                "least_seconds": peaks.least_seconds(stage.work),
                "contains": stage.contains,
            }
            for stage in self._stages()
        ]
        return {"peaks": asdict(peaks), "stages": stages}

    def _stages(self) -> list[Stage]:
        if not self._found_stages:
            self._found_stages = stages_of(
                self._codec, self._bare, self._pictures[0], self._target, bfloat16=self._job.bfloat16
            )
        return self._found_stages

    def _each(self, **seconds: float) -> Seconds:
        return {name: taken / len(self._pictures) for name, taken in seconds.items()}


def read(file: str) -> Image.Image:
    """Read a picture as RGB."""
    with Image.open(file) as image:
        return image.convert("RGB")


def to_avif(image: Image.Image, quality: int, threads: int) -> bytes:
    """Make an AVIF file as Pillow does when it is asked for nothing but a quality."""
    file = io.BytesIO()
    image.save(file, "AVIF", quality=quality, speed=AVIF_SPEED, max_threads=threads)
    return file.getvalue()


def main() -> None:
    """Answer every line of standard input by a line of JSON."""
    subject = Subject(Job(**json.loads(sys.argv[1])))
    for line in sys.stdin:
        question = json.loads(line)
        answer: dict[str, object] = {}
        if question == "roofline":
            answer = subject.roofline()
        else:
            for name in question:
                answer |= subject.measures[name]()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
