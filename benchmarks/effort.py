"""What encoder effort buys at equal budgets, and what it costs.

    python -m benchmarks.effort FOLDER [--profile psnr] [--bpp 0.15] [--efforts 0 1 3 5 7] [--every 3]

Prints a table of means over the images, in real bytes, and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from models import Codec, Picture, Target
from models.evaluation.run import SUFFIXES
from models.metrics import decibels, ms_ssim, psnr


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the images at one effort: bits per pixel, dB, MS-SSIM as it is and in dB, processor seconds of all threads."""

    effort: int
    bpp: float
    psnr: float
    ms_ssim: float
    ms_ssim_db: float
    seconds: float


def measure(codec: Codec, pictures: list[Picture], bpp: float, effort: int) -> Row:
    """Encode every picture to the budget and look at what comes out."""
    found: list[tuple[float, ...]] = []
    for picture in pictures:
        begun = time.process_time()
        stream = codec.encode([picture], [Target(bpp=bpp)], effort=effort)[0]
        seconds = time.process_time() - begun
        decoded = codec.decode([stream.data])[0]
        x_hat, x = (torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255 for rgb in (decoded.rgb, picture.rgb))
        similarity = ms_ssim(x_hat, x)
        found.append((stream.bpp, float(psnr(x_hat, x)), float(similarity), float(decibels(similarity)), seconds))
    return Row(effort, *(round(float(mean), 5) for mean in np.mean(found, 0)))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--profile", default="psnr")
    parser.add_argument("--bpp", type=float, default=0.15)
    parser.add_argument("--efforts", type=int, nargs="+", default=[0, 1, 3, 5])
    parser.add_argument("--every", type=int, default=1, help="use every n-th image")
    parser.add_argument("--output", type=Path, default=Path("effort.json"))
    arguments = parser.parse_args()

    codec = Codec.load(arguments.profile)
    paths = sorted(path for path in arguments.folder.iterdir() if path.suffix.lower() in SUFFIXES)[:: arguments.every]
    pictures = []
    for path in paths:
        with Image.open(path) as image:
            pictures.append(Picture.from_image(image))
    rows = [measure(codec, pictures, arguments.bpp, effort) for effort in arguments.efforts]

    table = Table(
        "effort", "bpp", "PSNR", "MS-SSIM", "dB", "CPU seconds", title=f"{codec.name}, {len(pictures)} images at {arguments.bpp} bpp"
    )
    for row in rows:
        table.add_row(
            str(row.effort), f"{row.bpp:.4f}", f"{row.psnr:.3f}", f"{row.ms_ssim:.5f}", f"{row.ms_ssim_db:.3f}", f"{row.seconds:.2f}"
        )
    Console().print(table)
    facts = {"model": codec.name, "model_id": codec.model_id, "images": [path.name for path in paths], "bpp": arguments.bpp}
    arguments.output.write_text(json.dumps(facts | {"rows": [asdict(row) for row in rows]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
