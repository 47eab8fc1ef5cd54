"""A check of the judges: by how much each of them rises when decoded pictures are sharpened.

python -m models.evaluation.sharpening --images kodak/ --profiles psnr,ms-ssim --bpp 0.15

Some metrics take an unsharp mask for quality, and a codec that was tuned for them leaves nothing
for the mask to gain. A judge that still rises by more than half a point either rewards the mask, or
tells that the decoder blurs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from models.evaluation.judges import JUDGES, Judge, Pair, named, scores
from models.evaluation.run import image_paths, read_picture
from models.learned.codec import LearnedCodec
from models.picture import Picture
from models.rate_control import Target

MASK = ImageFilter.UnsharpMask(radius=1.5, percent=50, threshold=0)

Change = dict[Judge, float]


def sharpened(picture: Picture) -> Picture:
    """Apply the unsharp mask to the pixels."""
    return Picture.from_array(np.asarray(Image.fromarray(picture.rgb).filter(MASK)))


def changes(
    codec: LearnedCodec, pictures: Iterable[Picture], bpp: float, judges: Sequence[Judge] = JUDGES
) -> Change:
    """Measure what the mask changes, by judge: the mean over pictures compressed to a rate."""
    rises = [_rises(codec, picture, bpp, judges) for picture in pictures]
    return {judge: float(np.mean([rise[judge] for rise in rises])) for judge in judges}


def _rises(codec: LearnedCodec, picture: Picture, bpp: float, judges: Sequence[Judge]) -> Change:
    (stream,) = codec.encode([picture], [Target(bpp=bpp)])
    (decoded,) = codec.decode([stream.data])
    before = scores(Pair(decoded.rgb, picture.rgb), judges)
    after = scores(Pair(sharpened(decoded).rgb, picture.rgb), judges)
    return {judge: after[judge] - before[judge] for judge in judges}


def table(found: dict[str, Change]) -> str:
    """Make a Markdown table, a row a judge and a column a codec."""
    head = [f"| judge | {' | '.join(found)} |", "|---|" + "---:|" * len(found)]
    judges = next(iter(found.values()))
    rows = [" | ".join([f"| {judge}", *(f"{found[name][judge]:+.3f}" for name in found)]) for judge in judges]
    return "\n".join([*head, *(f"{row} |" for row in rows)])


def main(report: Callable[[str], None] = print) -> None:
    """Print the table."""
    options = argparse.ArgumentParser(
        prog="python -m models.evaluation.sharpening",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    options.add_argument("--images", type=Path, required=True, help="folder of images, best lossless ones")
    options.add_argument("--profiles", default="psnr,ms-ssim", help="models, separated by commas")
    options.add_argument("--bpp", type=float, default=0.15)
    options.add_argument("--judges", type=named, default=JUDGES, help="as of ziggurat evaluate")
    arguments = options.parse_args()
    pictures = [read_picture(path) for path in image_paths(arguments.images)]
    codecs = [LearnedCodec.load(name) for name in arguments.profiles.split(",")]
    report(table({codec.name: changes(codec, pictures, arguments.bpp, arguments.judges) for codec in codecs}))


if __name__ == "__main__":
    main()
