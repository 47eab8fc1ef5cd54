"""Accuracy and cost of rate control: how close it comes to the bitrate asked for, and how long.

    python -m benchmarks.rate_control FOLDER [--profile ms-ssim] [--device cpu]
        [--output rate_control.json]

Every picture is encoded at each rate twice in the same run: to the budget, and to the quality that
rate control found for it. The share of the first time that the second does not need is what rate
control costs. Prints a table and writes JSON.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.program import add_folder, parser, write
from models import Picture, Stream, Target
from models.evaluation.report import spread
from models.evaluation.run import RATES, image_paths, read_picture
from models.learned.codec import LearnedCodec

TRIMMED_BYTES = 8  # that a stream to a budget may be shorter: the coder's last bytes


@dataclass(frozen=True, slots=True)
class Trial:
    """One picture at one rate.

    Attributes:
        image: its name.
        target_bpp: bits per pixel asked for.
        ratio: of the rate to the target.
        met: rate control calls the target met.
        probes: positions that it looked at.
        seconds_to_budget: of a whole encode, from pixels to the stream's bytes.
        seconds_to_quality: the same to the quality that was found.
    """

    image: str
    target_bpp: float
    ratio: float
    met: bool
    probes: int
    seconds_to_budget: float
    seconds_to_quality: float

    @property
    def share(self) -> float:
        """Share of an encode that rate control takes."""
        return 1 - self.seconds_to_quality / self.seconds_to_budget


@dataclass(frozen=True, slots=True)
class Row:
    """Figures over all pictures at one rate.

    Attributes:
        target_bpp: bits per pixel asked for.
        images: number of pictures.
        met: number of pictures that met the target.
        ratio: of the rate to the target: lowest, median, highest.
        probes: lowest, median, highest.
        seconds: of an encode to the budget, median.
        share: of an encode that rate control takes, median.
    """

    target_bpp: float
    images: int
    met: int
    ratio: tuple[float, float, float]
    probes: tuple[float, float, float]
    seconds: float
    share: float

    @classmethod
    def from_trials(cls, trials: Sequence[Trial]) -> Row:
        """Sum up the trials of one rate."""
        return cls(
            target_bpp=trials[0].target_bpp,
            images=len(trials),
            met=sum(trial.met for trial in trials),
            ratio=spread([trial.ratio for trial in trials]),
            probes=spread([trial.probes for trial in trials]),
            seconds=statistics.median(trial.seconds_to_budget for trial in trials),
            share=statistics.median(trial.share for trial in trials),
        )


def measure(codec: LearnedCodec, picture: Picture, image: str, bpp: float) -> Trial:
    """Measure one picture at one rate.

    Raises:
        RuntimeError: the quality that was found does not give the stream again.
    """
    found, seconds_to_budget = _timed(codec, picture, Target(bpp=bpp))
    again, seconds_to_quality = _timed(codec, picture, Target(quality=found.quality))
    if not 0 <= len(again.data) - len(found.data) <= TRIMMED_BYTES:
        raise RuntimeError(f"{image}: quality {found.quality} does not give the stream that {bpp} bpp gave")
    return Trial(
        image,
        bpp,
        found.bpp / bpp,
        found.target_met,
        found.probes,
        seconds_to_budget,
        seconds_to_quality,
    )


def table(rows: Sequence[Row], title: str) -> Table:
    """Lay out the rows for the terminal."""
    shown = Table(title=title, caption="lowest, median, highest; medians", box=box.SIMPLE)
    for name in ("bpp", "achieved / target", "met", "probes", "encode, s", "rate control"):
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(
            f"{row.target_bpp:g}",
            " ".join(f"{value:.4f}" for value in row.ratio),
            f"{row.met} of {row.images}",
            " ".join(f"{value:g}" for value in row.probes),
            f"{row.seconds:.3f}",
            f"{row.share:.1%}",
        )
    return shown


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "rate_control.json")
    add_folder(options)
    options.add_argument("--profile", default="ms-ssim")
    options.add_argument("--device", default="cpu")
    arguments = options.parse_args()
    codec = LearnedCodec.load(arguments.profile, device=arguments.device)
    paths = image_paths(arguments.folder)
    measure(codec, read_picture(paths[0]), paths[0].stem, RATES[0])  # warm-up
    trials = []
    for path in track(paths, description="encoding"):
        picture = read_picture(path)
        trials += [measure(codec, picture, path.stem, bpp) for bpp in RATES]
    rows = [Row.from_trials([trial for trial in trials if trial.target_bpp == bpp]) for bpp in RATES]
    where = f"on {arguments.device}, {len(paths)} images of {arguments.folder.name}"
    Console().print(table(rows, f"{codec.name} {codec.model_id} {where}"))
    facts = {
        "model": codec.model_id,
        "device": arguments.device,
        "rows": [asdict(row) for row in rows],
        "trials": [asdict(trial) for trial in trials],
    }
    write(arguments.output, facts)


def _timed(codec: LearnedCodec, picture: Picture, target: Target) -> tuple[Stream, float]:
    start = time.perf_counter()
    stream = codec.encode([picture], [target])[0]
    return stream, time.perf_counter() - start


if __name__ == "__main__":
    main()
