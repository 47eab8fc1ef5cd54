"""Pairs to train the post-processor on: training pictures as the codecs give them back, kept as the encoded files.

python -m models.training.postprocess.pairs --data train/ --cache cache/ --passes 2
python -m models.training.postprocess.pairs --data train/ --cache cache-psnr/ --learned psnr

Every pass encodes every picture once with every codec, at a random quality and with random settings of those in use, and goes on where it
stopped. The files are small (10 kB each), and what they say of themselves (their quantiser) is what the network is told when it runs.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import Picture, Target
from models.avif.section import restore
from models.bitstream import MAGIC, Bitstream
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.rate_control import Metric
from models.training.crops import load
from models.weights import registry

Options = dict[str, object]


Encode = Callable[[NDArray[np.uint8], np.random.Generator], bytes]
"""A picture (H, W, 3) to a file, at a random quality."""


@dataclass(frozen=True, slots=True)
class FileCodec:
    """One of Pillow's codecs whose artefacts are trained on.

    Attributes:
        format: Pillow's name.
        qualities: lowest and highest, drawn uniformly; a little wider than what the network is meant for.
        options: draws the other settings.
    """

    format: str
    qualities: tuple[int, int]
    options: Callable[[np.random.Generator], Options]

    def encode(self, picture: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
        """A whole file."""
        stream = io.BytesIO()
        quality = int(rng.integers(self.qualities[0], self.qualities[1] + 1))
        Image.fromarray(picture).save(stream, self.format, quality=quality, **self.options(rng))
        return stream.getvalue()


def _avif(rng: np.random.Generator) -> Options:
    options: Options = {
        "subsampling": "4:2:0" if rng.random() < 0.6 else "4:4:4",
        "speed": 6 if rng.random() < 0.25 else 8,
        "max_threads": 1,
    }
    if rng.random() < 0.5:
        options["advanced"] = {"tune": "psnr"}
    return options


AVIF = FileCodec("AVIF", (5, 72), _avif)


def avif(picture: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """An AVIF file, every other time as the hybrid codec makes them."""
    if rng.random() < 0.5:
        return AVIF.encode(picture, rng)
    metric: Metric = "psnr" if rng.random() < 0.5 else "ms-ssim"
    target = Target(quality=float(rng.uniform(*AVIF.qualities)))  # its axis is that of libavif's quality, but finer
    stream = Bitstream.parse(HybridCodec().encode(Picture.from_array(picture), target, metric=metric).data)
    return restore(stream.y, width=stream.width, height=stream.height, mono=stream.greyscale)


FILES: Mapping[str, Encode] = {
    "avif": avif,
    "jpeg": FileCodec("JPEG", (7, 92), lambda rng: {"subsampling": "4:2:0" if rng.random() < 0.7 else "4:4:4"}).encode,
    "webp": FileCodec("WEBP", (0, 85), lambda rng: {"method": 4}).encode,
}
PICTURES_A_FILE = 64


def learned(profile: str) -> Mapping[str, Encode]:
    """One of our own profiles in their place; the kind is its model id."""
    codec = LearnedCodec.load(profile)

    def encode(picture: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
        target = Target(quality=float(rng.uniform(0, 90)))
        return codec.encode([Picture.from_array(picture)], [target])[0].data

    return {codec.model_id: encode}


def decode(file: bytes) -> NDArray[np.uint8]:
    """What a viewer would show of any of these files; (H, W, 3)."""
    if file.startswith(MAGIC):
        return _codec(Bitstream.parse(file).model_id.hex()).decode([file], postprocess="off")[0].rgb
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))


@cache
def _codec(model_id: str) -> LearnedCodec:
    return LearnedCodec.load(registry.name_of(model_id))


def fill(
    folder: Path,
    pictures: list[NDArray[np.uint8]],
    passes: int,
    *,
    codecs: Mapping[str, Encode] = FILES,
    report: Callable[[str], None] = print,
) -> None:
    """Write what is missing of `passes` encodings of every picture by every codec: `<pass>-<picture>.tar`, some pictures a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(passes):
        for start in range(0, len(pictures), PICTURES_A_FILE):
            path = folder / f"{number}-{start:05d}.tar"
            if path.exists():
                continue
            rng = np.random.default_rng((number, start))
            partial = path.with_suffix(".partial")
            with tarfile.open(partial, "w") as archive:
                for i, picture in enumerate(pictures[start : start + PICTURES_A_FILE], start):
                    for kind, encode in codecs.items():
                        _add(archive, f"{i:05d}.{kind}", encode(picture, rng))
            partial.replace(path)
            report(f"pass {number + 1} of {passes}: {min(start + PICTURES_A_FILE, len(pictures))} of {len(pictures)} pictures")


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def stored(folder: Path) -> Iterator[tuple[int, str, bytes]]:
    """All that `fill` wrote: number of the picture, kind of source, file."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None  # only plain files were added
                number, _, kind = member.name.partition(".")
                yield int(number), kind, content.read()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training.postprocess.pairs", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of .tar shards of training images")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the encoded files")
    parser.add_argument("--passes", type=int, default=1, help="encodings of each picture by each codec")
    parser.add_argument("--learned", help="a profile of ours, instead of AVIF, JPEG and WebP")
    arguments = parser.parse_args()
    codecs = learned(arguments.learned) if arguments.learned else FILES
    fill(arguments.cache, load(arguments.data, 0), arguments.passes, codecs=codecs, report=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
