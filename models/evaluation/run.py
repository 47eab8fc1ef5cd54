"""The rate-distortion run: every picture of a folder through our codec and the others.

All sizes are real bytes, and one code computes all metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from models.evaluation.anchors import Anchor, of_families
from models.evaluation.crops import sheets
from models.evaluation.judges import Judge
from models.evaluation.plots import plot_files
from models.evaluation.points import AnchorPoints, budget_of
from models.evaluation.report import HEADLINE, ImageSweep, Report, TargetPoint
from models.evaluation.sweeps import OwnSweeps, own_name
from models.learned.codec import LearnedCodec
from models.picture import Picture

RATES = (0.05, 0.1, 0.15, 0.25, 0.5, 0.8)  # bits per pixel that our rate control is asked for
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm"})

OnStep = Callable[[str, int, int], None]
"""Told what was done, how many steps are done, and of how many."""


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """Everything that is evaluated on a folder, and how.

    Attributes:
        profiles: of our codec, such as ("psnr", "ms-ssim").
        against: anchors, or families of them: "avif", "webp", "jpeg", "jxl", "heic".
        rates: bits per pixel that our rate control is asked for; with effort only the headline's,
            if it is among them.
        efforts: of our encoder, 0 to 9; a curve for each.
        judges: metrics that are taken beside PSNR and MS-SSIM.
        device: runs our codec.
        jobs: anchors encoded at once.
    """

    profiles: Sequence[str] = ()
    against: Sequence[str] = ()
    rates: Sequence[float] = RATES
    efforts: Sequence[int] = (0,)
    judges: Sequence[Judge] = ()
    device: str = "cpu"
    jobs: int = 1


def evaluate(
    folder: Path, output: Path, options: EvaluationOptions, *, on_step: OnStep | None = None
) -> Report:
    """Measure our profiles and other codecs on the pictures of a folder, and write the results.

    Writes `NAME.json`, `NAME.md`, plots `NAME-METRIC.png` by the main metrics and
    `NAME-crops-PROFILE.jpg` into `output`, where NAME is the folder's. `NAME-anchors.json` and
    `NAME-ours.json` hold what was measured, the former by picture, codec, version and setting, the
    latter by picture, model and effort, so that another run, or one that was interrupted, measures
    only what is new.

    Args:
        folder: holds the pictures; alpha is dropped, orientation applied.
        output: folder for the results, created when missing.
        options: what is measured.
        on_step: called after every picture through every codec.

    Raises:
        ValueError: no picture in the folder, or an unknown anchor.
    """
    name = folder.resolve().name
    paths = image_paths(folder)
    anchors = of_families(tuple(options.against))
    output.mkdir(parents=True, exist_ok=True)
    known = AnchorPoints(output / f"{name}-anchors.json", options.judges)
    own = OwnSweeps(output / f"{name}-ours.json", options.judges)
    codecs = [LearnedCodec.load(profile, device=options.device) for profile in options.profiles]
    runs = {own_name(codec, effort): (codec, effort) for codec in codecs for effort in options.efforts}
    steps = _Steps(len(paths) * (len(anchors) + len(runs)), on_step)
    ours: dict[str, list[ImageSweep]] = {run: [] for run in runs}
    theirs: dict[str, list[ImageSweep]] = {anchor.name: [] for anchor in anchors}
    pixels = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for path in paths:
            picture = read_picture(path)
            pixels += picture.pixels
            for anchor, sweep in _sweep_anchors(anchors, picture, known, pool):
                theirs[anchor.name].append(sweep)
                known.save()
                steps.done(f"{path.stem}: {anchor.name}")
            for run, (codec, effort) in runs.items():
                sweep = own.sweep(codec, picture, options.rates, effort=effort, device=options.device)
                ours[run].append(sweep)
                own.save()
                steps.done(f"{path.stem}: {run}")
    versions = {run: f"model {codec.model_id}" for run, (codec, _) in runs.items()}
    versions |= {anchor.name: anchor.version for anchor in anchors}
    report = Report.from_sweeps(name, [path.stem for path in paths], pixels, versions, ours, theirs)
    (output / f"{name}.json").write_text(report.json())
    (output / f"{name}.md").write_text(report.markdown())
    plot_files(report, output)
    pictures = [read_picture(path) for path in paths]
    for codec, sheet in sheets(pictures, codecs, max(options.efforts, default=0), anchors, known):
        path = output / f"{name}-crops-{codec.name}.jpg"
        sheet.save(path, quality=90, subsampling="4:4:4", optimize=True)
    known.save()
    return report


def image_paths(folder: Path) -> list[Path]:
    """List the picture files directly in a folder, by name.

    Raises:
        ValueError: there is none.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"no image in {folder}")
    return paths


def read_picture(path: Path) -> Picture:
    """Read a picture as every codec here gets it: upright, RGB, opaque."""
    with Image.open(path) as image:
        return Picture.from_array(np.array(ImageOps.exif_transpose(image).convert("RGB")))


def sweep_anchor(anchor: Anchor, picture: Picture, known: AnchorPoints) -> ImageSweep:
    """Measure an anchor over its settings, and its largest stream within the headline rate."""
    points = known.sweep(anchor, picture)
    best = known.largest_within(anchor, picture, budget_of(HEADLINE, picture.pixels))
    return ImageSweep(points, (TargetPoint(HEADLINE, best or points[0], best is not None, 0),))


def _sweep_anchors(
    anchors: Sequence[Anchor], picture: Picture, known: AnchorPoints, pool: ThreadPoolExecutor
) -> Iterator[tuple[Anchor, ImageSweep]]:
    # Threads suffice: Pillow's encoders and torch let go of the interpreter. The last anchors take
    # longest, and so are begun first.
    begun = [pool.submit(sweep_anchor, anchor, picture, known) for anchor in reversed(anchors)]
    return ((anchor, sweep.result()) for anchor, sweep in zip(anchors, reversed(begun), strict=True))


@dataclass(slots=True)
class _Steps:
    """A count of steps for a progress bar."""

    total: int
    on_step: OnStep | None
    count: int = 0

    def done(self, what: str) -> None:
        self.count += 1
        if self.on_step is not None:
            self.on_step(what, self.count, self.total)
