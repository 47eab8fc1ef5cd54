"""What post-processing gains on JPEG, WebP and AVIF files of a folder of pictures, or on our streams, at the same bytes, and what it costs.

    python -m benchmarks.enhance FOLDER [--name files|psnr] [--files CACHE] [--output enhance.json]

Prints a table of means over the images and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from models.evaluation import enhancement
from models.evaluation.complexity import post_cost
from models.evaluation.run import image_paths, read_picture
from models.picture import Picture
from models.postprocess import model as post_model
from models.postprocess.model import Gain
from models.postprocess.postprocessor import FILES, PostProcessor
from models.postprocess.sources import Source


def seconds_per_megapixel(post_processor: PostProcessor, pictures: list[Picture]) -> float:
    """Processor time of all threads."""
    kind = post_processor.card.trained[0]
    post_processor.improve(pictures[:1], [Source(kind.kind, kind.finest)])  # the first call chooses kernels
    begun = time.process_time()
    for picture in pictures:
        post_processor.improve([picture], [Source(kind.kind, kind.finest)])
    return 1e6 * (time.process_time() - begun) / sum(picture.pixels for picture in pictures)


def table(gains: tuple[Gain, ...], title: str) -> Table:
    """For reading."""
    shown = Table("codec", "quality", "bpp", "PSNR before", "after", "gain, dB", "MS-SSIM before", "after", title=title)
    for gain in gains:
        (before, after), (similar_before, similar_after) = gain.psnr, gain.ms_ssim
        shown.add_row(
            *(gain.codec, str(gain.quality), f"{gain.bpp:.3f}", f"{before:.2f}", f"{after:.2f}", f"{after - before:+.3f}"),
            *(f"{similar_before:.4f}", f"{similar_after:.4f}"),
        )
    return shown


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--name", default=FILES, choices=post_model.available(), help="the post-processor: for files, or of a profile of ours"
    )
    parser.add_argument("--files", type=Path, help="folder for the encoded files; without it they are made anew")
    parser.add_argument("--output", type=Path, default=Path("enhance.json"))
    arguments = parser.parse_args()

    post_processor, console = PostProcessor.load(arguments.name), Console()
    paths = image_paths(arguments.folder)
    pictures = [read_picture(path) for path in paths]
    with tempfile.TemporaryDirectory() as scratch:
        gains = enhancement.gains(post_processor, pictures, arguments.files or Path(scratch), report=console.print)
    cost, seconds = post_cost(post_processor.topology), seconds_per_megapixel(post_processor, pictures)
    console.print(table(gains, f"{post_processor.name} {post_processor.model_id}, {len(pictures)} images"))
    console.print(f"{cost.kmac:.1f} kMAC a pixel, {seconds:.2f} seconds of processor time a megapixel")
    facts = {
        "model": post_processor.name,
        "model_id": post_processor.model_id,
        "images": [path.name for path in paths],
        "kmac_per_pixel": round(cost.kmac, 2),
        "cpu_seconds_per_megapixel": round(seconds, 3),
        "threads": torch.get_num_threads(),
        "gains": [asdict(gain) for gain in gains],
    }
    arguments.output.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
