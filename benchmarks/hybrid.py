"""The hybrid codec against plain AVIF and the learned codec, within the same bytes.

    python -m benchmarks.hybrid FOLDER [--every 1] [--output hybrid.json] [--learned RESULTS]

For each picture, rate and profile: the hybrid stream, the plain AVIF file of the highest quality
that fits the same budget (4:4:4; for `psnr` tune=psnr, for `ms-ssim` libavif's default, the best of
its settings by either metric), and the learned stream; their scores by the profile's metric, what
`auto` thus picks, and the encodes that rate control took. All AVIF is at speed 6, which is the
hybrid's at effort 0 and Pillow's default.

Every picture's trials are kept as soon as they are done, and a second run goes on from there. The
learned points are those of `ziggurat evaluate`, read from where it keeps them (`--learned`) when
they are of the same model and rates.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.program import add_folder, parser, write
from models import Picture, Target
from models.evaluation.anchors import ANCHORS, Anchor
from models.evaluation.points import budget_of, largest_within
from models.evaluation.run import RATES, image_paths, read_picture
from models.evaluation.sweeps import OwnSweeps
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.postprocess import model as post_model
from models.rate_control import Metric

SPEED = 6  # of libaom
PLAIN = {
    metric: next(anchor for anchor in ANCHORS if anchor.name == name)
    for metric, name in (("psnr", "avif-444-psnr"), ("ms-ssim", "avif-444"))
}
LEARNED = Path("models/evaluation/results/kodak-ours.json")
HEADINGS = (
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
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One picture at one rate by one metric; scores are dB of PSNR, or MS-SSIM.

    Attributes:
        image: name of the picture.
        metric: that scores are by.
        target_bpp: bits per pixel of the budget.
        plain: score of the plain file; None where none fits.
        plain_ratio: of its size to the budget; None where none fits.
        hybrid: score of the hybrid stream; None where it does not fit.
        bare: the same without post-processing.
        hybrid_ratio: of its size to the budget.
        met: rate control calls the target met.
        encodes: that rate control took.
        seconds: processor time of encoding the hybrid stream.
        learned: score of the learned stream; None where it does not fit.
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
        """Gain of hybrid over plain; None where one does not fit."""
        return None if self.hybrid is None or self.plain is None else self.hybrid - self.plain

    @property
    def gain_by_post_processing(self) -> float | None:
        """Gain of the hybrid stream by post-processing; None where it does not fit."""
        return None if self.hybrid is None or self.bare is None else self.hybrid - self.bare

    @property
    def is_hybrid(self) -> bool:
        """True where `auto` picks the hybrid stream."""
        return (self.hybrid or 0) > (self.learned or 0)


class Plain:
    """AVIF files of one picture as anybody makes them."""

    def __init__(self, anchor: Anchor, picture: Picture) -> None:
        self._picture = picture
        self._anchor = replace(anchor, options={**anchor.options, "speed": SPEED})
        self._files: dict[int, bytes] = {}

    def within(self, budget: int) -> tuple[Picture, int] | None:
        """Find the file of the highest quality within a budget: decoded, and its size."""
        tried = sorted({0, *self._files})
        quality = largest_within(lambda wanted: len(self._file(wanted)), tried, budget)
        if quality is None:
            return None
        return self._anchor.decode(self._file(quality)), len(self._file(quality))

    def _file(self, quality: int) -> bytes:
        if quality not in self._files:
            self._files[quality] = self._anchor.encode(self._picture, quality)
        return self._files[quality]


def trials(
    codec: LearnedCodec, picture: Picture, image: str, learned: Mapping[float, float | None]
) -> list[Trial]:
    """Measure one picture at all rates by the metric of one model.

    Args:
        codec: scores the pictures.
        picture: what is compressed.
        image: its name.
        learned: score of the learned stream by the rate asked for; None where it does not fit.
    """
    plain = Plain(PLAIN[codec.metric], picture)
    hybrid = HybridCodec.load()
    found = []
    for bpp in RATES:
        begun = time.process_time()
        stream = hybrid.encode(picture, Target(bpp=bpp), metric=codec.metric)
        seconds = time.process_time() - begun
        budget = budget_of(bpp, picture.pixels)
        fits = len(stream.data) <= budget
        enhanced = hybrid.decode(stream.data)
        bare = hybrid.decode(stream.data, postprocess="off")
        plain_fits = plain.within(budget)
        found.append(
            Trial(
                image=image,
                metric=codec.metric,
                target_bpp=bpp,
                plain=codec.score(plain_fits[0], picture, codec.metric) if plain_fits else None,
                plain_ratio=plain_fits[1] / budget if plain_fits else None,
                hybrid=codec.score(enhanced, picture, codec.metric) if fits else None,
                bare=codec.score(bare, picture, codec.metric) if fits else None,
                hybrid_ratio=len(stream.data) / budget,
                met=stream.target_met,
                encodes=stream.probes,
                seconds=seconds,
                learned=learned[bpp],
            )
        )
    return found


def table(found: Sequence[Trial], metric: Metric, images: int) -> Table:
    """Lay out means over the pictures for the terminal."""
    shown = Table(title=f"{metric}, {images} images, AVIF at speed {SPEED}", box=box.SIMPLE)
    for heading in HEADINGS:
        shown.add_column(heading, justify="right")
    for bpp in RATES:
        of_rate = [trial for trial in found if trial.metric == metric and trial.target_bpp == bpp]
        if of_rate:
            shown.add_row(f"{bpp:g}", *_cells(of_rate))
    return shown


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "hybrid.json")
    add_folder(options, every=True)
    options.add_argument("--learned", type=Path, default=LEARNED, help="our measured sweeps")
    arguments = options.parse_args()
    codecs = [LearnedCodec.load("psnr"), LearnedCodec.load("ms-ssim")]
    sweeps = OwnSweeps(arguments.learned)
    versions = _versions(codecs)
    found = _known(arguments.output, versions)
    known = {trial.image for trial in found}
    paths = image_paths(arguments.folder)[:: arguments.every]
    for path in track(paths, description="encoding"):
        if path.stem in known:
            continue
        picture = read_picture(path)
        for codec in codecs:
            found += trials(codec, picture, path.stem, _learned(codec, picture, sweeps))
        facts = {
            "versions": versions,
            "speed": SPEED,
            "trials": [asdict(trial) for trial in found],
        }
        write(arguments.output, facts)
    images = len({trial.image for trial in found})
    for codec in codecs:
        Console(width=160).print(table(found, codec.metric, images))


def _cells(trials: Sequence[Trial]) -> list[str]:
    """Write the cells of one rate."""
    gains = [trial.gain for trial in trials if trial.gain is not None]
    by_post_processing = [
        trial.gain_by_post_processing for trial in trials if trial.gain_by_post_processing is not None
    ]
    plain_ratios = [trial.plain_ratio for trial in trials if trial.plain_ratio is not None]
    return [
        f"{statistics.mean(gains):+.4f}" if gains else "",
        f"{statistics.mean(by_post_processing):+.4f}" if by_post_processing else "",
        f"{min(gains):+.4f}" if gains else "",
        f"{sum(gain < 0 for gain in gains)} of {len(gains)}",
        str(sum(trial.plain is None and trial.hybrid is not None for trial in trials)),
        f"{statistics.mean(trial.hybrid_ratio for trial in trials):.4f}",
        f"{statistics.mean(plain_ratios):.4f}" if plain_ratios else "",
        f"{sum(trial.is_hybrid for trial in trials)} of {len(trials)}",
        f"{statistics.mean(trial.encodes for trial in trials):.1f}",
        f"{statistics.median(trial.seconds for trial in trials):.1f}",
    ]


def _versions(codecs: Sequence[LearnedCodec]) -> dict[str, str]:
    """Name everything that trials depend on."""
    versions = {"avif": PLAIN["psnr"].version, "hybrid": HybridCodec.model_id}
    for name in post_model.available():
        versions[f"post-{name}"] = post_model.card(name).model_id
    for codec in codecs:
        versions[codec.name] = codec.model_id
    return versions


def _known(path: Path, versions: Mapping[str, str]) -> list[Trial]:
    """Read the trials of an earlier run with these versions."""
    if not path.exists():
        return []
    document = json.loads(path.read_text())
    if document["versions"] != versions:
        return []
    return [Trial(**trial) for trial in document["trials"]]


def _learned(codec: LearnedCodec, picture: Picture, sweeps: OwnSweeps) -> dict[float, float | None]:
    """Look up or measure scores of the learned stream by the rate asked for; None beyond it."""
    scores: dict[float, float | None] = {}
    for row in sweeps.sweep(codec, picture, RATES, effort=0).exact:
        score = row.point.psnr if codec.metric == "psnr" else row.point.ms_ssim
        scores[row.target_bpp] = score if row.point.bpp <= row.target_bpp else None
    return scores


if __name__ == "__main__":
    main()
