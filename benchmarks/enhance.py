"""Gain and cost of post-processing, on other codecs' files or on our streams, at the same bytes.

    python -m benchmarks.enhance FOLDER [--name files|psnr] [--files CACHE] [--output enhance.json]

Prints a table of means over the pictures and writes JSON.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.program import add_folder, parser, write
from models.evaluation import enhancement
from models.evaluation.complexity import post_cost
from models.evaluation.run import image_paths, read_picture
from models.picture import Picture
from models.postprocess import model as post_model
from models.postprocess.model import Gain
from models.postprocess.postprocessor import FILES, PostProcessor
from models.postprocess.sources import Source


def seconds_per_megapixel(post_processor: PostProcessor, pictures: Sequence[Picture]) -> float:
    """Measure the processor time of all threads."""
    kind = post_processor.card.trained[0]
    source = Source(kind.kind, kind.finest)
    post_processor.improve(pictures[:1], [source])  # the first call chooses kernels
    begun = time.process_time()
    for picture in pictures:
        post_processor.improve([picture], [source])
    seconds = time.process_time() - begun
    return 1e6 * seconds / sum(picture.pixels for picture in pictures)


def table(gains: Sequence[Gain], title: str) -> Table:
    """Lay out gains for the terminal."""
    shown = Table("codec", "quality", "bpp", title=title)
    for heading in ("PSNR before", "after", "gain, dB", "MS-SSIM before", "after"):
        shown.add_column(heading)
    for gain in gains:
        before, after = gain.psnr
        shown.add_row(
            gain.codec,
            str(gain.quality),
            f"{gain.bpp:.3f}",
            f"{before:.2f}",
            f"{after:.2f}",
            f"{after - before:+.3f}",
            *(f"{similarity:.4f}" for similarity in gain.ms_ssim),
        )
    return shown


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "enhance.json")
    add_folder(options)
    options.add_argument(
        "--name",
        default=FILES,
        choices=post_model.available(),
        help="the post-processor: for files, or of a profile of ours",
    )
    options.add_argument(
        "--files", type=Path, help="folder for the encoded files; without it they are made anew"
    )
    arguments = options.parse_args()

    console = Console()
    post_processor = PostProcessor.load(arguments.name)
    paths = image_paths(arguments.folder)
    pictures = [read_picture(path) for path in paths]
    with tempfile.TemporaryDirectory() as scratch:
        files = arguments.files or Path(scratch)
        gains = enhancement.gains(post_processor, pictures, files, report=console.print)
    cost = post_cost(post_processor.topology)
    seconds = seconds_per_megapixel(post_processor, pictures)
    title = f"{post_processor.name} {post_processor.model_id}, {len(pictures)} images"
    console.print(table(gains, title))
    console.print(f"{cost.kmac:.1f} kMAC a pixel, {seconds:.2f} processor seconds a megapixel")
    facts = {
        "model": post_processor.name,
        "model_id": post_processor.model_id,
        "images": [path.name for path in paths],
        "kmac_per_pixel": round(cost.kmac, 2),
        "cpu_seconds_per_megapixel": round(seconds, 3),
        "gains": [asdict(gain) for gain in gains],
    }
    write(arguments.output, facts)


if __name__ == "__main__":
    main()
