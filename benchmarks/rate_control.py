"""How close rate control comes to the bitrate asked for, and what it costs.

    python -m benchmarks.rate_control FOLDER [--profile ms-ssim] [--device cpu] [--output rate_control.json]

Every image is encoded at each rate twice in the same run: to the budget, and to the quality that rate control found for it. The share
of the first time that the second does not need is what rate control costs. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models import Picture, Stream, Target
from models.evaluation.report import spread
from models.evaluation.run import RATES, image_paths, read_picture
from models.learned.codec import LearnedCodec


@dataclass(frozen=True, slots=True)
class Trial:
    """One image at one rate. Seconds are of a whole encode, from pixels to the stream's bytes."""

    image: str
    target_bpp: float
    ratio: float
    met: bool
    probes: int
    seconds_to_budget: float
    seconds_to_quality: float


@dataclass(frozen=True, slots=True)
class Row:
    """All images at one rate; ratio (achieved / target) and probes are (lowest, median, highest), the rest medians."""

    target_bpp: float
    images: int
    met: int
    ratio: tuple[float, float, float]
    probes: tuple[float, float, float]
    seconds: float
    share: float


def trial(codec: LearnedCodec, picture: Picture, image: str, bpp: float) -> Trial:
    """Measure one image at one rate."""
    found, seconds_to_budget = _timed(codec, picture, Target(bpp=bpp))
    again, seconds_to_quality = _timed(codec, picture, Target(quality=found.quality))
    # Equal, or longer by what had to be trimmed off the other: the coder's last bytes.
    if not 0 <= len(again.data) - len(found.data) <= 8:
        raise RuntimeError(f"{image}: quality {found.quality} does not give the stream that {bpp} bpp gave")
    return Trial(image, bpp, found.bpp / bpp, found.target_met, found.probes, seconds_to_budget, seconds_to_quality)


def row(trials: Sequence[Trial]) -> Row:
    """Sum up the trials of one rate."""
    return Row(
        target_bpp=trials[0].target_bpp,
        images=len(trials),
        met=sum(one.met for one in trials),
        ratio=spread([one.ratio for one in trials]),
        probes=spread([one.probes for one in trials]),
        seconds=statistics.median(one.seconds_to_budget for one in trials),
        share=statistics.median(1 - one.seconds_to_quality / one.seconds_to_budget for one in trials),
    )


def table(rows: Sequence[Row], title: str) -> Table:
    """For the terminal."""
    shown = Table(title=title, caption="lowest, median, highest; medians", box=box.SIMPLE)
    for name in ("bpp", "achieved / target", "met", "probes", "encode, s", "rate control"):
        shown.add_column(name, justify="right")
    for one in rows:
        shown.add_row(
            f"{one.target_bpp:g}",
            " ".join(f"{value:.4f}" for value in one.ratio),
            f"{one.met} of {one.images}",
            " ".join(f"{value:g}" for value in one.probes),
            f"{one.seconds:.3f}",
            f"{one.share:.1%}",
        )
    return shown


def main() -> None:
    """Run over a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--profile", default="ms-ssim")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, default=Path("rate_control.json"))
    options = parser.parse_args()
    codec = LearnedCodec.load(options.profile, device=options.device)
    paths = image_paths(options.folder)
    trial(codec, read_picture(paths[0]), paths[0].stem, RATES[0])  # warm-up
    pictures = ((path.stem, read_picture(path)) for path in track(paths, description="encoding"))
    trials = [trial(codec, picture, name, bpp) for name, picture in pictures for bpp in RATES]
    rows = [row([one for one in trials if one.target_bpp == bpp]) for bpp in RATES]
    Console().print(table(rows, f"{codec.name} {codec.model_id} on {options.device}, {len(paths)} images of {options.folder.name}"))
    found = {
        "model": codec.model_id,
        "device": options.device,
        "rows": [asdict(one) for one in rows],
        "trials": [asdict(one) for one in trials],
    }
    options.output.write_text(json.dumps(found, indent=1) + "\n")


def _timed(codec: LearnedCodec, picture: Picture, target: Target) -> tuple[Stream, float]:
    start = time.perf_counter()
    stream = codec.encode([picture], [target])[0]
    return stream, time.perf_counter() - start


if __name__ == "__main__":
    main()
