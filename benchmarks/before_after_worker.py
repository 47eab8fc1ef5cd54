"""The process that `benchmarks.before_after` times a checkout's codecs in.

It imports `models` of whatever checkout PYTHONPATH names, old or new. Its arguments are picture
files. For every line that it reads it encodes and decodes all of them, and writes a line of JSON:
seconds per picture by what was done.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, cast

import numpy as np
from PIL import Image

from models import Picture, Stream, Target

BPP = 0.15
PROFILES = ("psnr", "ms-ssim")


class Codec(Protocol):
    """Either generation of the learned codec."""

    def encode(self, pictures: Sequence[Picture], targets: Sequence[Target]) -> list[Stream]:
        """Compress a batch of pictures."""

    def decode(
        self, streams: Sequence[bytes], *, postprocess: Literal["auto", "off"] = "auto"
    ) -> list[Picture]:
        """Decompress a batch of streams."""


def load(profile: str) -> Codec:
    """Load a profile of the checkout."""
    try:
        from models.learned.codec import LearnedCodec
    except ModuleNotFoundError:  # before the learned codec had a package of its own
        from models import Codec as Door

        return cast("Codec", Door.load(profile))
    return LearnedCodec.load(profile)


def measure(name: str, codec: Codec, pictures: Sequence[Picture]) -> dict[str, float]:
    """Encode and decode every picture by itself."""
    begun = time.perf_counter()
    streams = [codec.encode([picture], [Target(bpp=BPP)])[0].data for picture in pictures]
    encoded = time.perf_counter()
    for stream in streams:
        codec.decode([stream])
    post_processed = time.perf_counter()
    for stream in streams:
        codec.decode([stream], postprocess="off")
    plain = time.perf_counter()
    seconds = {
        f"{name} encode": encoded - begun,
        f"{name} decode": post_processed - encoded,
        f"{name} decode, no post-processing": plain - post_processed,
    }
    return {what: taken / len(pictures) for what, taken in seconds.items()}


def main() -> None:
    """Answer every line of standard input by a line of JSON."""
    pictures = []
    for path in map(Path, sys.argv[1:]):
        with Image.open(path) as image:
            pictures.append(Picture.from_array(np.array(image.convert("RGB"))))
    codecs = {profile: load(profile) for profile in PROFILES}
    for _ in sys.stdin:
        seconds: dict[str, float] = {}
        for profile, codec in codecs.items():
            seconds |= measure(profile, codec, pictures)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
