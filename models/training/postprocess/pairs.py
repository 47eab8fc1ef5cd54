"""Pairs to train the post-processor on: training pictures as the codecs give them back.

python -m models.training.postprocess.pairs --data train/ --cache cache/ --passes 2
python -m models.training.postprocess.pairs --data train/ --cache cache-psnr/ --learned psnr

They are kept as the encoded files, which are small (10 kB each), and what these say of themselves
(their quantiser) is what the network is told when it runs. Every pass encodes every picture once
with every codec, at a random quality and with random settings of those in use. The command goes on
where it stopped.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models import Picture, Target
from models.avif.section import restore
from models.bitstream import MAGIC, Bitstream
from models.files import write_atomically
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.rate_control import Metric
from models.training.arguments import parser, say
from models.training.crops import load
from models.weights import registry

PICTURES_PER_ARCHIVE = 64
LEARNED_QUALITIES = (0.0, 90.0)  # the learned codec's range, drawn uniformly

Options = dict[str, object]

Encode = Callable[[NDArray[np.uint8], np.random.Generator], bytes]
"""Encode a picture (H, W, 3) to a file, at a random quality."""


@dataclass(frozen=True, slots=True)
class FileCodec:
    """One of Pillow's codecs whose artefacts are trained on.

    Attributes:
        format: Pillow's name.
        qualities: lowest and highest, drawn uniformly; a little wider than the network's range.
        options: draws the other settings.
    """

    format: str
    qualities: tuple[int, int]
    options: Callable[[np.random.Generator], Options]

    def encode(self, picture: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
        """Encode a picture (H, W, 3) to a whole file."""
        stream = io.BytesIO()
        quality = int(rng.integers(self.qualities[0], self.qualities[1] + 1))
        Image.fromarray(picture).save(stream, self.format, quality=quality, **self.options(rng))
        return stream.getvalue()


def _avif_options(rng: np.random.Generator) -> Options:
    options: Options = {
        "subsampling": "4:2:0" if rng.random() < 0.6 else "4:4:4",
        "speed": 6 if rng.random() < 0.25 else 8,
        "max_threads": 1,
    }
    if rng.random() < 0.5:
        options["advanced"] = {"tune": "psnr"}
    return options


def _jpeg_options(rng: np.random.Generator) -> Options:
    return {"subsampling": "4:2:0" if rng.random() < 0.7 else "4:4:4"}


def _webp_options(_: np.random.Generator) -> Options:
    return {"method": 4}


AVIF = FileCodec("AVIF", (5, 72), _avif_options)
JPEG = FileCodec("JPEG", (7, 92), _jpeg_options)
WEBP = FileCodec("WEBP", (0, 85), _webp_options)


def avif(picture: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    """Encode an AVIF file, every other time as the hybrid codec makes them."""
    if rng.random() < 0.5:
        return AVIF.encode(picture, rng)
    metric: Metric = "psnr" if rng.random() < 0.5 else "ms-ssim"
    # The hybrid codec's axis is that of libavif's quality, but finer.
    target = Target(quality=float(rng.uniform(*AVIF.qualities)))
    made = HybridCodec().encode(Picture.from_array(picture), target, metric=metric)
    stream = Bitstream.parse(made.data)
    return restore(stream.y, width=stream.width, height=stream.height, mono=stream.greyscale)


FILES: Mapping[str, Encode] = {"avif": avif, "jpeg": JPEG.encode, "webp": WEBP.encode}
"""Codecs of files by the kind of source that they make."""


def learned(profile: str) -> Mapping[str, Encode]:
    """Load one of our own profiles to train for in place of FILES; its kind is the model's id."""
    codec = LearnedCodec.load(profile)

    def encode(picture: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
        target = Target(quality=float(rng.uniform(*LEARNED_QUALITIES)))
        return codec.encode([Picture.from_array(picture)], [target])[0].data

    return {codec.model_id: encode}


def decode(file: bytes) -> NDArray[np.uint8]:
    """Decode any of these files to what a viewer would show (H, W, 3)."""
    if file.startswith(MAGIC):
        codec = _codec(Bitstream.parse(file).model_id.hex())
        return codec.decode([file], postprocess="off")[0].rgb
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))


def fill(
    folder: Path,
    pictures: Sequence[NDArray[np.uint8]],
    passes: int,
    *,
    codecs: Mapping[str, Encode] = FILES,
    report: Callable[[str], None] = print,
) -> None:
    """Write what is missing of `passes` encodings of every picture by every codec.

    Args:
        folder: for archives `<pass>-<picture>.tar`, of some pictures each; created when missing.
        pictures: (H, W, 3) each.
        passes: encodings of each picture by each codec.
        codecs: by kind of source.
        report: told of every archive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(passes):
        for start in range(0, len(pictures), PICTURES_PER_ARCHIVE):
            path = folder / f"{number}-{start:05d}.tar"
            if path.exists():
                continue
            part = pictures[start : start + PICTURES_PER_ARCHIVE]
            rng = np.random.default_rng((number, start))
            write_atomically(path, _archive(part, start, codecs, rng))
            done = start + len(part)
            report(f"pass {number + 1} of {passes}: {done} of {len(pictures)} pictures")


def stored(folder: Path) -> Iterator[tuple[int, str, bytes]]:
    """Read all that `fill` wrote: number of the picture, kind of source, file."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None  # only plain files were added
                number, _, kind = member.name.partition(".")
                yield int(number), kind, content.read()


def main() -> None:
    """Encode."""
    arguments = _arguments()
    codecs = learned(arguments.learned) if arguments.learned else FILES
    fill(arguments.cache, load(arguments.data, 0), arguments.passes, codecs=codecs, report=say)


def _arguments() -> argparse.Namespace:
    options = parser("models.training.postprocess.pairs", __doc__)
    options.add_argument("--cache", type=Path, required=True, help="folder for the encoded files")
    options.add_argument("--passes", type=int, default=1, help="encodings of each picture by each codec")
    options.add_argument("--learned", help="a profile of ours, instead of AVIF, JPEG and WebP")
    return options.parse_args()


def _archive(
    pictures: Sequence[NDArray[np.uint8]],
    first: int,
    codecs: Mapping[str, Encode],
    rng: np.random.Generator,
) -> bytes:
    """Encode pictures by every codec into a tar file; the first picture has the number `first`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for number, picture in enumerate(pictures, first):
            for kind, encode in codecs.items():
                file = encode(picture, rng)
                member = tarfile.TarInfo(f"{number:05d}.{kind}")
                member.size = len(file)
                archive.addfile(member, io.BytesIO(file))
    return stream.getvalue()


@cache
def _codec(model_id: str) -> LearnedCodec:
    return LearnedCodec.load(registry.name_of(model_id))


if __name__ == "__main__":
    main()
