"""The hybrid codec against plain AVIF and the learned codec, within the same bytes.

    python -m benchmarks.hybrid FOLDER [--every 1] [--output hybrid.json] [--learned RESULTS]

For each image, rate and profile: the hybrid stream, the plain AVIF file of the highest quality that fits the same budget (4:4:4; for
`psnr` tune=psnr, for `ms-ssim` libavif's default, the best of its settings by either metric), and the learned stream; what each scores by
the profile's metric, what `auto` thus picks, and how many encodes rate control took. All AVIF at speed 6, which is the hybrid's at effort
0 and Pillow's default. Every image's trials are kept as soon as they are done, and a second run goes on from there. The learned points
are those of `ziggurat evaluate`, read from where it keeps them (`--learned`) when they are of the same model and rates.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from models import Picture, Target
from models.evaluation.anchors import ANCHORS, Anchor
from models.evaluation.run import RATES, image_paths, read_picture
from models.evaluation.sweeps import OwnSweeps
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.postprocess import model as post_model
from models.rate_control import Metric

SPEED = 6
PLAIN: dict[Metric, str] = {"psnr": "avif-444-psnr", "ms-ssim": "avif-444"}
LEARNED = Path("models/evaluation/results/kodak-ours.json")


@dataclass(frozen=True, slots=True)
class Trial:
    """One image at one rate by one metric: dB of PSNR, or MS-SSIM. None is what does not fit the budget.

    `bare` is the hybrid stream without its post-processing.
    """

    image: str
    metric: Metric
    target_bpp: float
    plain: float | None
    plain_ratio: float | None
    hybrid: float | None
    bare: float | None
    hybrid_ratio: float
    met: bool
    encodes: int
    seconds: float
    learned: float | None

    @property
    def gain(self) -> float | None:
        """Of hybrid over plain."""
        return None if self.hybrid is None or self.plain is None else self.hybrid - self.plain


class Plain:
    """AVIF files of one picture as anybody makes them; the largest that fits."""

    def __init__(self, anchor: Anchor, picture: Picture) -> None:
        self._picture = picture
        self._anchor = replace(anchor, options={**anchor.options, "speed": SPEED})
        self._files: dict[int, bytes] = {}

    def within(self, budget: int) -> tuple[Picture, int] | None:
        """Decoded picture and size of the file of the highest quality within a budget."""
        sizes = {quality: len(file) for quality, file in self._files.items()}
        low = max((quality for quality, size in sizes.items() if size <= budget), default=-1)
        high = min((quality for quality, size in sizes.items() if size > budget), default=101)
        while high - low > 1:
            middle = (low + high) // 2
            self._files[middle] = self._anchor.encode(self._picture, middle)
            low, high = (middle, high) if len(self._files[middle]) <= budget else (low, middle)
        return None if low < 0 else (self._anchor.decode(self._files[low]), len(self._files[low]))


def trials(codec: LearnedCodec, picture: Picture, image: str, learned: dict[float, tuple[float, float]]) -> list[Trial]:
    """All rates of one image by the metric of one model. `learned` has its bits per pixel and score at each rate."""
    plain = Plain(next(anchor for anchor in ANCHORS if anchor.name == PLAIN[codec.metric]), picture)
    hybrid, found = HybridCodec.load(), []
    for bpp in RATES:
        target = Target(bpp=bpp)
        begun = time.process_time()
        stream = hybrid.encode(picture, target, metric=codec.metric)
        seconds = time.process_time() - begun
        budget = target.budget(picture.pixels) or 0
        fits = plain.within(budget)
        within = len(stream.data) <= budget
        ours, bare = (codec.score(hybrid.decode(stream.data, postprocess=how), picture, codec.metric) for how in ("auto", "off"))
        rate, score = learned[bpp]
        found.append(
            Trial(
                image=image,
                metric=codec.metric,
                target_bpp=bpp,
                plain=codec.score(fits[0], picture, codec.metric) if fits else None,
                plain_ratio=fits[1] / budget if fits else None,
                hybrid=ours if within else None,
                bare=bare if within else None,
                hybrid_ratio=len(stream.data) / budget,
                met=stream.target_met,
                encodes=stream.probes,
                seconds=seconds,
                learned=score if rate <= bpp else None,
            )
        )
    return found


def table(found: Sequence[Trial], metric: Metric, images: int) -> Table:
    """For the terminal: means over the images where both fit."""
    shown = Table(title=f"{metric}, {images} images, AVIF at speed {SPEED}", box=box.SIMPLE)
    for name in (
        "bpp",
        "hybrid - plain",
        "by post-processing",
        "least",
        "worse on",
        "only hybrid fits",
        "size / budget",
        "plain's",
        "auto picks hybrid",
        "encodes",
        "s",
    ):
        shown.add_column(name, justify="right")
    for bpp in RATES:
        rows = [one for one in found if one.metric == metric and one.target_bpp == bpp]
        gains = [one.gain for one in rows if one.gain is not None]
        by_post = [one.hybrid - one.bare for one in rows if one.hybrid is not None and one.bare is not None]
        if not rows:
            continue
        shown.add_row(
            f"{bpp:g}",
            f"{statistics.mean(gains):+.4f}" if gains else "",
            f"{statistics.mean(by_post):+.4f}" if by_post else "",
            f"{min(gains):+.4f}" if gains else "",
            f"{sum(gain < 0 for gain in gains)} of {len(gains)}",
            str(sum(one.plain is None and one.hybrid is not None for one in rows)),
            f"{statistics.mean(one.hybrid_ratio for one in rows):.4f}",
            f"{statistics.mean(one.plain_ratio for one in rows if one.plain_ratio):.4f}" if gains else "",
            f"{sum((one.hybrid or 0) > (one.learned or 0) for one in rows)} of {len(rows)}",
            f"{statistics.mean(one.encodes for one in rows):.1f}",
            f"{statistics.median(one.seconds for one in rows):.1f}",
        )
    return shown


def main() -> None:
    """Run over a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path("hybrid.json"))
    parser.add_argument("--every", type=int, default=1, help="use every n-th image")
    parser.add_argument("--learned", type=Path, default=LEARNED)
    options = parser.parse_args()
    codecs = [LearnedCodec.load("psnr"), LearnedCodec.load("ms-ssim")]
    learned = OwnSweeps(options.learned, perceptual=False)
    versions = (
        {"avif": next(anchor.version for anchor in ANCHORS if anchor.name == PLAIN["psnr"]), "hybrid": HybridCodec.model_id}
        | {f"post-{name}": post_model.card(name).model_id for name in post_model.available()}
        | {codec.name: codec.model_id for codec in codecs}
    )
    found: list[Trial] = []
    if options.output.exists() and (before := json.loads(options.output.read_text()))["versions"] == versions:
        found = [Trial(**one) for one in before["trials"]]
    paths = image_paths(options.folder)[:: options.every]
    for path in track(paths, description="encoding"):
        if path.stem in {one.image for one in found}:
            continue
        picture = read_picture(path)
        for codec in codecs:
            exact = learned.sweep(codec, picture, RATES, effort=0).exact
            scores = {one.target_bpp: (one.point.bpp, one.point.psnr if codec.metric == "psnr" else one.point.ms_ssim) for one in exact}
            found += trials(codec, picture, path.stem, scores)
        document = {"versions": versions, "speed": SPEED, "trials": [asdict(one) for one in found]}
        options.output.write_text(json.dumps(document, indent=1) + "\n")
    for metric in PLAIN:
        Console(width=160).print(table(found, metric, len({one.image for one in found})))


if __name__ == "__main__":
    main()
