"""Pairs to train the post-processor on: training pictures as the codecs give them back, kept as the encoded files.

python -m models.training.artefacts --data train/ --cache cache/ --passes 2

Every pass encodes every picture once with every codec, at a random quality and with random settings of those in use, and goes on where it
stopped. The files are small (10 kB each), and what they say of themselves (their quantiser) is what the network is told when it runs.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.training.crops import load

Options = dict[str, object]


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec whose artefacts are trained on.

    Attributes:
        format: Pillow's name.
        qualities: lowest and highest, drawn uniformly; a little wider than what the network is meant for.
        options: draws the other settings.
    """

    format: str
    qualities: tuple[int, int]
    options: Callable[[np.random.Generator], Options]


def _avif(rng: np.random.Generator) -> Options:
    options: Options = {
        "subsampling": "4:2:0" if rng.random() < 0.6 else "4:4:4",
        "speed": 6 if rng.random() < 0.25 else 8,
        "max_threads": 1,
    }
    if rng.random() < 0.5:
        options["advanced"] = {"tune": "psnr"}
    return options


CODECS = {
    "avif": Codec("AVIF", (5, 72), _avif),
    "jpeg": Codec("JPEG", (7, 68), lambda rng: {"subsampling": "4:2:0" if rng.random() < 0.7 else "4:4:4"}),
    "webp": Codec("WEBP", (0, 68), lambda rng: {"method": 4}),
}


def encode(picture: NDArray[np.uint8], codec: Codec, rng: np.random.Generator) -> bytes:
    """The picture (H, W, 3) as a file of the codec, at a random quality."""
    stream = io.BytesIO()
    quality = int(rng.integers(codec.qualities[0], codec.qualities[1] + 1))
    Image.fromarray(picture).save(stream, codec.format, quality=quality, **codec.options(rng))
    return stream.getvalue()


def fill(cache: Path, pictures: list[NDArray[np.uint8]], passes: int, *, report: Callable[[str], None] = print) -> None:
    """Write what is missing of `passes` encodings of every picture by every codec: `cache/<pass>-<picture>.tar`, some pictures a file."""
    cache.mkdir(parents=True, exist_ok=True)
    for number in range(passes):
        for start in range(0, len(pictures), PICTURES_A_FILE):
            path = cache / f"{number}-{start:05d}.tar"
            if path.exists():
                continue
            rng = np.random.default_rng((number, start))
            partial = path.with_suffix(".partial")
            with tarfile.open(partial, "w") as archive:
                for i, picture in enumerate(pictures[start : start + PICTURES_A_FILE], start):
                    for name, codec in CODECS.items():
                        _add(archive, f"{i:05d}.{name}", encode(picture, codec, rng))
            partial.replace(path)
            report(f"pass {number + 1} of {passes}: {min(start + PICTURES_A_FILE, len(pictures))} of {len(pictures)} pictures")


PICTURES_A_FILE = 64


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def stored(cache: Path) -> Iterator[tuple[int, str, bytes]]:
    """All that the cache holds: number of the picture, codec, file."""
    for path in sorted(cache.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None  # only plain files were added
                number, _, kind = member.name.partition(".")
                yield int(number), kind, content.read()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m models.training.artefacts", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of .tar shards of training images")
    parser.add_argument("--cache", type=Path, required=True, help="folder for the encoded files")
    parser.add_argument("--passes", type=int, default=1, help="encodings of each picture by each codec")
    arguments = parser.parse_args()
    fill(arguments.cache, load(arguments.data, 0), arguments.passes, report=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
