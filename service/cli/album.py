"""`ziggurat compress --budget-bpp` and `--budget-bytes`: one budget over many images.

    each image: decoded at nine points of the gain axis ── journal
    all images: allocation of the budget
    each image: its stream, decoded once for the report

One image is in memory at a time. In the output folder there are, besides the streams:
`allocation.csv`, `allocation.svg` and the journal, `allocation.jsonl`.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from models.collection import compare, sweep
from models.metadata import Keep, Kept, bytes_of, with_metadata, without_room_for
from models.rate_control import (
    MEMBER_TOLERANCE,
    Allocation,
    Metric,
    RateDistortion,
    SetScores,
    Target,
    allocate,
    next_budget,
)
from models.rate_control.allocation import psnr_of

from ..ids import id_of
from . import paths
from .console import PLAIN, Manner, err, notes, over
from .journal import Journal, MadeStream, MeasuredImage
from .pictures import metadata_of, picture_of
from .progress import Outcome, Result, Tally, label, larger_than_source, left_out, work_through

if TYPE_CHECKING:
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
        strict: write nothing when the smallest streams together are over the budget.
        keep: what to keep of the images' metadata.
        manner: how many images are measured at the same time, and whether JSON is printed.
    """

    def __init__(
        self,
        codec: LearnedCodec,
        targets: dict[Path, Path],
        output: Path,
        journal: Journal,
        *,
        metric: Metric,
        effort: int,
        strict: bool = False,
        keep: Keep = "none",
        manner: Manner = PLAIN,
    ) -> None:
        self._codec = codec
        self._targets = targets
        self._output = output
        self._journal = journal
        self._metric = metric
        self._effort = effort
        self._strict = strict
        self._keep: Keep = keep
        self._metadata: dict[Path, Kept] = {}
        self._manner = manner
        self._images: dict[Path, MeasuredImage] = {}
        self._streams: dict[Path, MadeStream] = {}

    def run(self, *, bpp: float | None, max_bytes: int | None) -> Tally:
        """Measure, allocate, compress and report; count what became of the images.

        Args:
            bpp: the budget in bits per pixel of all images.
            max_bytes: the budget in bytes, instead of `bpp`.
        """
        measured = work_through(self._targets, self._measure, "Measuring", self._manner, goes_on=True)
        # In the order of the sources, whichever thread was done first: the same streams each time.
        self._images = {source: self._images[source] for source in self._targets if source in self._images}
        if not self._images:
            return Tally(failed=measured.failed)
        images = [self._with_metadata(source) for source in self._images]
        pixels = sum(image.pixels for image in images)
        budget = max_bytes if max_bytes is not None else int((bpp or 0) * pixels / 8)
        curves = [RateDistortion.of(image.measured, self._metric, image.pixels) for image in images]
        allocation = allocate(curves, budget)
        if self._strict and allocation.reach == "below":
            smallest = sum(min(point.size for point in image.measured) for image in images)
            told = f"over budget: {over(smallest, budget)} are the smallest streams there are"
            err.print(f"{told}; no stream is written")
            return Tally(failed=measured.failed, over=len(images))
        tally = self._compress(allocation, budget)
        tally.failed += measured.failed
        if self._streams:
            self._report(allocation, budget, tally)
        return tally

    def _measure(self, source: Path, _: Progress) -> None:
        file = paths.read(source)
        image_id = hashlib.sha256(file).hexdigest()
        model_id = self._codec.model_id
        image = self._journal.image(image_id, model_id)
        if image is None:
            picture = picture_of(file, lambda warning: notes.print(f"{source}: {warning}"))
            measured = tuple(sweep(self._codec, picture))
            image = MeasuredImage(image_id, model_id, picture.width, picture.height, measured)
            self._journal.add(image)
        self._metadata[source] = metadata_of(file, self._keep)
        self._images[source] = image

    def _with_metadata(self, source: Path) -> MeasuredImage:
        """An image's measurements, with the metadata in the streams' sizes."""
        image, more = self._images[source], bytes_of(self._metadata[source].section)
        return replace(
            image, measured=tuple(replace(point, size=point.size + more) for point in image.measured)
        )

    def _compress(self, allocation: Allocation, budget: int) -> Tally:
        sizes: list[int] = []

        def work(source: Path, progress: Progress) -> Result:
            sizes.append(0)  # a file that is gone by now leaves its share to the others
            max_bytes = next_budget(allocation, sizes[:-1], budget)
            known = self._known(source, max_bytes)
            stream = known or self._stream(source, max_bytes, progress)
            sizes[-1] = stream.result.size
            self._streams[source] = stream
            outcome = Outcome.DONE_BEFORE if known else Outcome.DONE
            line = f"{self._targets[source]}  {stream.result.size} bytes  quality {stream.quality:.1f}"
            facts = self._facts(source, stream)
            remarks = larger_than_source(stream.result.size, source.stat().st_size)
            remarks += left_out(self._metadata[source].dropped)
            return Result(outcome, line, facts, remarks)

        # One after the other: each is given what those before it have left.
        return work_through(self._images, work, "Compressing", replace(self._manner, jobs=1), goes_on=True)

    def _facts(self, source: Path, stream: MadeStream) -> dict[str, object]:
        image = self._images[source]
        file = source.stat().st_size
        return {
            "output": label(self._targets[source]),
            "source_bytes": file,
            "larger_than_source": stream.result.size > file,
            "id": stream.id,
            "bytes": stream.result.size,
            "bpp": round(8 * stream.result.size / image.pixels, 6),
            "width": image.width,
            "height": image.height,
            "quality": round(stream.quality, 3),
            "psnr": round(psnr_of(stream.result.mse), 3),
            "ms_ssim": round(stream.result.ms_ssim, 5),
            "dropped": list(self._metadata[source].dropped),
        }

    def _known(self, source: Path, max_bytes: int) -> MadeStream | None:
        """The stream that an earlier run made of an image, if it is still there."""
        image = self._images[source].image
        known = self._journal.stream(image, self._codec.model_id, max_bytes, self._effort, self._keep)
        return known if known is not None and _id(self._targets[source]) == known.id else None

    def _stream(self, source: Path, max_bytes: int, progress: Progress) -> MadeStream:
        target = self._targets[source]
        model_id = self._codec.model_id
        file = paths.read(source)
        picture = picture_of(file)
        asked = Target(max_bytes=max_bytes, tolerance=MEMBER_TOLERANCE)
        section = self._metadata[source].section
        room = without_room_for(asked, section, picture.pixels)
        (plain,) = self._codec.encode([picture], [room], effort=self._effort, progress=progress)
        stream = with_metadata(plain, section, asked)
        decoded = self._codec.decode([stream.data])
        (result,) = compare(self._codec, picture, decoded, [len(stream.data)])
        image_id = hashlib.sha256(file).hexdigest()
        made = MadeStream(
            image_id,
            model_id,
            max_bytes,
            self._effort,
            id_of(stream.data),
            stream.quality,
            result,
            self._keep,
        )
        # First the journal: a stream that it does not know would not be replaced by the next run.
        self._journal.add(made)
        paths.write(target, stream.data)
        return made

    def _report(self, allocation: Allocation, budget: int, tally: Tally) -> None:
        paths.write(self._output / "allocation.csv", self._table().encode())
        self._plot()
        results = [stream.result for stream in self._streams.values()]
        pixels = [self._images[source].pixels for source in self._streams]
        scores = SetScores.of(results, pixels)
        total = sum(result.size for result in results)
        if total > budget:
            tally.over = len(results)
            err.print(f"over budget: {over(total, budget)} are the smallest streams there are")
        elif allocation.reach == "above":
            notes.print("the budget is above the model's range: these are the best streams there are")
        notes.print(
            f"{len(results)} streams  {total} of {budget} bytes ({total / budget:.2%})  "
            f"{8 * total / sum(pixels):.4f} bpp  "
            f"PSNR of all pixels {scores.psnr:.2f} dB  mean MS-SSIM {scores.ms_ssim:.4f}"
        )

    def _table(self) -> str:
        file = io.StringIO()
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for source, stream in self._streams.items():
            image = self._images[source]
            result = stream.result
            table.writerow(
                (
                    source,
                    self._targets[source],
                    image.width,
                    image.height,
                    result.size,
                    f"{8 * result.size / image.pixels:.5f}",
                    f"{stream.quality:.2f}",
                    f"{psnr_of(result.mse):.3f}",
                    f"{result.ms_ssim:.5f}",
                )
            )
        return file.getvalue()

    def _plot(self) -> None:
        try:
            from models.evaluation.allocation_plot import plot
        except ModuleNotFoundError:
            notes.print("no plot without matplotlib: pip install 'ziggurat[evaluation]'")
            return
        measured = [self._with_metadata(source).measured for source in self._streams]
        chosen = [stream.result for stream in self._streams.values()]
        file = io.BytesIO()
        plot(measured, chosen, self._metric).savefig(file, format="svg")
        paths.write(self._output / "allocation.svg", file.getvalue())


def is_ours(journal: Journal, target: Path) -> bool:
    """Tell whether a file is a stream that an earlier run has written."""
    return _id(target) in journal.ids


def _id(target: Path) -> str:
    return id_of(target.read_bytes()) if target.is_file() else ""
