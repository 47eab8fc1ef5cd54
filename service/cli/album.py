"""`ziggurat compress --budget-bpp` and `--budget-bytes`: one budget over many images.

    each image: decoded at seven points of the gain axis ── journal ── allocation ── each image: its stream, decoded once for the report

One image is in memory at a time. In the output folder there are, besides the streams: `allocation.csv`, `allocation.svg` and the journal,
`allocation.jsonl`.
"""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from models.collection import compare, sweep
from models.rate_control import MEMBER_TOLERANCE, Allocation, Metric, RateDistortion, SetScores, Target, allocate, next_budget
from models.rate_control.allocation import psnr_of

from ..images import decode, open_image
from ..store import id_of
from . import paths
from .console import err
from .journal import Journal, Made, Sweep
from .progress import each

if TYPE_CHECKING:
    from models import Picture
    from models.learned.codec import LearnedCodec
    from models.progress import Progress

COLUMNS = ("file", "stream", "width", "height", "bytes", "bpp", "quality", "psnr", "ms_ssim")


class AlbumCompressor:
    """Compresses images to one budget.

    Args:
        codec: the model.
        targets: where each image's stream goes.
        output: folder for the report and the journal.
        journal: of the runs before.
        metric: what to be best in.
        effort: of the encoder, 0 to 9, for the streams that are kept.
    """

    def __init__(
        self, codec: LearnedCodec, targets: dict[Path, Path], output: Path, journal: Journal, *, metric: Metric, effort: int
    ) -> None:
        self._codec = codec
        self._targets = targets
        self._output = output
        self._journal = journal
        self._metric = metric
        self._effort = effort
        self._sweeps: dict[Path, Sweep] = {}
        self._made: dict[Path, Made] = {}

    def run(self, *, bpp: float | None, max_bytes: int | None) -> bool:
        """Measure, allocate, compress, report; whether all went well. The budget is in bits per pixel of all images, or in bytes."""
        well = each(self._targets, self._measure, "Measuring")
        if not self._sweeps:
            return False
        pixels = sum(one.pixels for one in self._sweeps.values())
        budget = max_bytes if max_bytes is not None else int((bpp or 0) * pixels / 8)
        allocation = allocate([RateDistortion.of(one.measured, self._metric, one.pixels) for one in self._sweeps.values()], budget)
        well &= self._compress(allocation, budget)
        if self._made:
            self._report(allocation, budget)
        return well

    def _measure(self, source: Path, _: Progress) -> None:
        file = source.read_bytes()
        image, model = hashlib.sha256(file).hexdigest(), self._codec.model_id
        known = self._journal.sweep(image, model)
        if known is None:
            picture = _picture(file)
            known = Sweep(image, model, picture.width, picture.height, tuple(sweep(self._codec, picture)))
            self._journal.add(known)
        self._sweeps[source] = known

    def _compress(self, allocation: Allocation, budget: int) -> bool:
        sizes: list[int] = []

        def work(source: Path, progress: Progress) -> None:
            sizes.append(0)  # what a file that is gone by now does not use is there for the others
            made = self._stream(source, next_budget(allocation, sizes[:-1], budget), progress)
            sizes[-1] = made.result.size
            self._made[source] = made
            err.print(f"{self._targets[source]}  {made.result.size} bytes  quality {made.quality:.1f}")

        return each(self._sweeps, work, "Compressing")

    def _stream(self, source: Path, max_bytes: int, progress: Progress) -> Made:
        target = self._targets[source]
        known = self._journal.made(self._sweeps[source].image, self._codec.model_id, max_bytes, self._effort)
        if known is not None and _id(target) == known.id:
            return known
        file = source.read_bytes()
        picture = _picture(file)
        asked = Target(max_bytes=max_bytes, tolerance=MEMBER_TOLERANCE)
        (stream,) = self._codec.encode([picture], [asked], effort=self._effort, progress=progress)
        (result,) = compare(self._codec, picture, self._codec.decode([stream.data]), [len(stream.data)])
        image = hashlib.sha256(file).hexdigest()
        made = Made(image, self._codec.model_id, max_bytes, self._effort, id_of(stream.data), stream.quality, result)
        # First the journal: a stream that it does not know would not be replaced by the next run.
        self._journal.add(made)
        paths.write(target, stream.data)
        return made

    def _report(self, allocation: Allocation, budget: int) -> None:
        paths.write(self._output / "allocation.csv", self._table().encode())
        self._plot()
        pixels = [self._sweeps[source].pixels for source in self._made]
        scores = SetScores.of([made.result for made in self._made.values()], pixels)
        total = sum(made.result.size for made in self._made.values())
        if allocation.reach == "below":
            err.print("the budget is below the model's range: these are the smallest streams there are")
        elif allocation.reach == "above":
            err.print("the budget is above the model's range: these are the best streams there are")
        err.print(
            f"{len(self._made)} streams  {total} of {budget} bytes ({total / budget:.2%})  {8 * total / sum(pixels):.4f} bpp  "
            f"PSNR of all pixels {scores.psnr:.2f} dB  mean MS-SSIM {scores.ms_ssim:.4f}"
        )

    def _table(self) -> str:
        file = io.StringIO()
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for source, made in self._made.items():
            known, result = self._sweeps[source], made.result
            bpp = 8 * result.size / known.pixels
            size = known.width, known.height, result.size
            quality = f"{made.quality:.2f}", f"{psnr_of(result.mse):.3f}", f"{result.ms_ssim:.5f}"
            table.writerow((source, self._targets[source], *size, f"{bpp:.5f}", *quality))
        return file.getvalue()

    def _plot(self) -> None:
        try:
            from models.evaluation.allocation_plot import plot
        except ModuleNotFoundError:
            err.print("no plot without matplotlib: pip install 'ziggurat[evaluation]'")
            return
        chosen = {source: made.result for source, made in self._made.items()}
        figure = plot([self._sweeps[source].measured for source in chosen], list(chosen.values()), self._metric)
        file = io.BytesIO()
        figure.savefig(file, format="svg")
        paths.write(self._output / "allocation.svg", file.getvalue())


def is_ours(journal: Journal, target: Path) -> bool:
    """Whether a file is a stream that an earlier run has written."""
    return _id(target) in journal.ids


def _id(target: Path) -> str:
    return id_of(target.read_bytes()) if target.is_file() else ""


def _picture(file: bytes) -> Picture:
    from models.grid import MAX_SIDE

    return decode(open_image(file, max_pixels=MAX_SIDE**2))
