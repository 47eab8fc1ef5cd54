"""The rate-distortion run: every image of a folder through our codec and the others, in real bytes, with one metric code for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from models.evaluation.anchors import Anchor, of_families
from models.evaluation.crops import sheets
from models.evaluation.plots import plot_files
from models.evaluation.points import AnchorPoints
from models.evaluation.report import HEADLINE, Exact, Report, Sweep
from models.evaluation.sweeps import OwnSweeps, own_name
from models.learned.codec import LearnedCodec
from models.picture import Picture

RATES = (0.05, 0.1, 0.15, 0.25, 0.5, 0.8)  # bits per pixel that our rate control is asked for
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm"})

Progress = Callable[[str, int, int], None]


def evaluate(
    folder: Path,
    *,
    profiles: Sequence[str],
    against: Sequence[str],
    output: Path,
    rates: Sequence[float] = RATES,
    efforts: Sequence[int] = (0,),
    perceptual: bool = True,
    device: str = "cpu",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Measure our `profiles` and the other codecs on the images of `folder`, and write what came out.

    Writes `NAME.json`, `NAME.md`, a plot `NAME-METRIC.png` for each metric and `NAME-crops-PROFILE.jpg` into `output`, where NAME is the
    folder's. `NAME-anchors.json` and `NAME-ours.json` hold what was measured, the former by image, codec, version and setting, the latter
    by image, model and effort, so that another run, or one that was interrupted, measures only what is new.

    Args:
        folder: holds the images; alpha is dropped, orientation applied.
        profiles: of our codec, such as ("psnr", "ms-ssim").
        against: anchors, or families of them: "avif", "webp", "jpeg", "jxl", "heic".
        output: created when missing.
        rates: bits per pixel that our rate control is asked for; with effort only the headline's, if it is among them.
        efforts: of our encoder, 0 to 9; a curve for each.
        perceptual: whether SSIMULACRA2 and VMAF NEG are taken too, which takes about as long as encoding.
        device: runs our codec.
        jobs: anchors encoded at once.
        progress: told what was done, how many steps are done, and of how many.

    Raises:
        ValueError: no image in the folder, or an unknown family.
    """
    paths = image_paths(folder)
    anchors = of_families(tuple(against))
    codecs = [LearnedCodec.load(profile, device=device) for profile in profiles]
    name = folder.resolve().name
    output.mkdir(parents=True, exist_ok=True)
    known = AnchorPoints(output / f"{name}-anchors.json", perceptual=perceptual)
    own = OwnSweeps(output / f"{name}-ours.json", perceptual=perceptual)
    runs = {own_name(codec, effort): (codec, effort) for codec in codecs for effort in efforts}
    steps = _Steps(len(paths) * (len(anchors) + len(runs)), progress)
    ours: dict[str, list[Sweep]] = {run: [] for run in runs}
    theirs: dict[str, list[Sweep]] = {anchor.name: [] for anchor in anchors}
    pixels = 0
    with ThreadPoolExecutor(jobs) as pool:
        for path in paths:
            picture = read_picture(path)
            pixels += picture.pixels
            for anchor, sweep in _sweep_anchors(anchors, picture, known, pool):
                theirs[anchor.name].append(sweep)
                steps.done(f"{path.stem}: {anchor.name}")
            known.save()
            for run, (codec, effort) in runs.items():
                ours[run].append(own.sweep(codec, picture, rates, effort=effort, device=device))
                own.save()
                steps.done(f"{path.stem}: {run}")
    versions = {run: f"model {codec.model_id}" for run, (codec, _) in runs.items()} | {anchor.name: anchor.version for anchor in anchors}
    report = Report.of(name, [path.stem for path in paths], pixels, versions, ours, theirs)
    (output / f"{name}.json").write_text(report.json())
    (output / f"{name}.md").write_text(report.markdown())
    plot_files(report, output)
    for codec, sheet in sheets([read_picture(path) for path in paths], codecs, max(efforts, default=0), anchors, known):
        sheet.save(output / f"{name}-crops-{codec.name}.jpg", quality=90, subsampling="4:4:4", optimize=True)
    known.save()
    return report


def image_paths(folder: Path) -> list[Path]:
    """The images directly in a folder, by name.

    Raises:
        ValueError: there is none.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"no image in {folder}")
    return paths


def read_picture(path: Path) -> Picture:
    """An image as every codec here gets it: upright, RGB, opaque."""
    with Image.open(path) as image:
        return Picture.from_array(np.array(ImageOps.exif_transpose(image).convert("RGB")))


def sweep_anchor(anchor: Anchor, picture: Picture, known: AnchorPoints) -> Sweep:
    """An anchor over its settings, and its largest stream within the headline rate."""
    points = known.sweep(anchor, picture)
    best = known.largest_within(anchor, picture, HEADLINE * picture.pixels / 8)
    return Sweep(points, (Exact(HEADLINE, best or points[0], best is not None, 0),))


def _sweep_anchors(
    anchors: Sequence[Anchor], picture: Picture, known: AnchorPoints, pool: ThreadPoolExecutor
) -> Iterator[tuple[Anchor, Sweep]]:
    # Threads suffice: Pillow's encoders and torch let go of the interpreter.
    return zip(anchors, pool.map(lambda anchor: sweep_anchor(anchor, picture, known), anchors), strict=True)


@dataclass(slots=True)
class _Steps:
    """Counts steps for a progress bar."""

    total: int
    report: Progress | None
    count: int = 0

    def done(self, what: str) -> None:
        self.count += 1
        if self.report is not None:
            self.report(what, self.count, self.total)
