"""The rate-distortion run: every image of a folder through our codec and the others, in real bytes, with one metric code for all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from models.codec import Codec
from models.evaluation.anchors import Anchor, of_families
from models.evaluation.crops import comparison
from models.evaluation.plots import plot_files
from models.evaluation.points import AnchorPoints, Point, measure
from models.evaluation.report import HEADLINE, Exact, Report, Sweep
from models.picture import Picture
from models.rate_control import Target
from models.symbols import Stream

RATES = (0.05, 0.1, 0.15, 0.25, 0.5, 0.8)  # bits per pixel that our rate control is asked for
QUALITIES = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0)  # settings of our curves
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".ppm"})

Progress = Callable[[str, int, int], None]


def evaluate(
    folder: Path,
    *,
    profiles: Sequence[str],
    against: Sequence[str],
    output: Path,
    rates: Sequence[float] = RATES,
    device: str = "cpu",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Measure our `profiles` and the other codecs on the images of `folder`, and write what came out.

    Writes `NAME.json`, `NAME.md`, `NAME-psnr.png`, `NAME-ms-ssim.png`, `NAME-crops.png` and `NAME-anchors.json` into `output`, where NAME
    is the folder's. The last holds the anchors' points, and our sweeps are read back from `NAME.json`, so that a second run measures only
    what is new.

    Args:
        folder: holds the images; alpha is dropped, orientation applied.
        profiles: of our codec, such as ("psnr", "ms-ssim").
        against: anchors, or families of them: "avif", "webp", "jpeg".
        output: created when missing.
        rates: bits per pixel that our rate control is asked for.
        device: runs our codec.
        jobs: anchors encoded at once.
        progress: told what was done, how many steps are done, and of how many.

    Raises:
        ValueError: no image in the folder, or an unknown family.
    """
    paths = image_paths(folder)
    anchors = of_families(tuple(against))
    codecs = [Codec.load(profile, device=device) for profile in profiles]
    name = folder.resolve().name
    output.mkdir(parents=True, exist_ok=True)
    known = AnchorPoints(output / f"{name}-anchors.json")
    before = {own_name(codec): measured_before(output / f"{name}.json", codec, rates) for codec in codecs}
    steps = _Steps(len(paths) * (len(anchors) + len(codecs)), progress)
    ours: dict[str, list[Sweep]] = {own_name(codec): [] for codec in codecs}
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
            for codec in codecs:
                sweep = before[own_name(codec)].get(path.stem) or sweep_codec(codec, picture, rates, device)
                ours[own_name(codec)].append(sweep)
                steps.done(f"{path.stem}: {own_name(codec)}")
    versions = {own_name(codec): model_version(codec) for codec in codecs} | {anchor.name: anchor.version for anchor in anchors}
    report = Report.of(name, [path.stem for path in paths], pixels, versions, ours, theirs)
    (output / f"{name}.json").write_text(report.json())
    (output / f"{name}.md").write_text(report.markdown())
    plot_files(report, output)
    if codecs:
        # The pictures are chosen before looking: first, middle and last.
        chosen = [paths[index] for index in sorted({0, len(paths) // 2, len(paths) - 1})]
        shown = [anchor for anchor in anchors if anchor.name in {"jpeg", "webp", "avif-420"}]
        comparison([read_picture(path) for path in chosen], codecs, shown, HEADLINE, known).save(output / f"{name}-crops.png")
        known.save()
    return report


def own_name(codec: Codec) -> str:
    """What tables and plots call a profile of ours."""
    return f"ziggurat-{codec.name}"


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


def sweep_codec(codec: Codec, picture: Picture, rates: Sequence[float], device: str) -> Sweep:
    """Our codec over its quality axis and at the exact rates. One stream at a time: a batch would save nothing but cost memory."""

    def point(stream: Stream) -> Point:
        decoded = codec.decode([stream.data])[0]
        return measure(picture, decoded, setting=stream.quality, size=len(stream.data), device=device)

    def encoded(target: Target) -> Stream:
        return codec.encode([picture], [target])[0]

    points = tuple(point(encoded(Target(quality=quality))) for quality in QUALITIES)
    streams = [(bpp, encoded(Target(bpp=bpp))) for bpp in rates]
    return Sweep(points, tuple(Exact(bpp, point(stream), stream.target_met, stream.probes) for bpp, stream in streams))


def measured_before(path: Path, codec: Codec, rates: Sequence[float]) -> dict[str, Sweep]:
    """Our sweeps by image in an earlier report of this very model over these settings; empty when there is none."""
    if not path.exists():
        return {}
    report = json.loads(path.read_text())
    name = own_name(codec)
    if report["versions"].get(name) != model_version(codec):
        return {}
    sweeps = zip(report["images"], map(Sweep.of, report["sweeps"][name]), strict=True)
    return {
        image: sweep
        for image, sweep in sweeps
        if [row.target_bpp for row in sweep.exact] == list(rates) and len(sweep.points) == len(QUALITIES)
    }


def model_version(codec: Codec) -> str:
    """What a report says of a profile of ours."""
    return f"model {codec.model_id}"


def sweep_anchor(anchor: Anchor, picture: Picture, known: AnchorPoints) -> Sweep:
    """An anchor over its settings, and its largest stream within the headline rate."""
    points = known.sweep(anchor, picture)
    best = known.largest_within(anchor, picture, HEADLINE)
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
