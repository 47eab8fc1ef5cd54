"""Program: one budget through `compress --engine ray` against `allocate`, on the same pictures.

    python -m benchmarks.bulk_budget FOLDER

The command measures, shares out and compresses. Then its measurements, out of its journal, go
through `allocate`, which holds and sorts all curves, and the pictures through
`models.collection.encode`, which hands on what each leaves of its share.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console

from models import Picture
from models.collection import compare, encode
from models.learned.codec import LearnedCodec
from models.rate_control import Measured, RateDistortion, allocate
from service.bulk.job import MANIFEST_NAME
from service.bulk.journal import Journal
from service.bulk.rows import MeasuredRow, rows_of
from service.images import decode

from .program import add_folder, parser, write

MAX_PIXELS = 40_000_000


@dataclass(frozen=True, slots=True)
class Spent:
    """What a way made of a budget.

    Attributes:
        way: its name.
        bytes: of all streams.
        share: of the budget.
        distortion: sum over the pictures, by the model's own metric.
    """

    way: str
    bytes: int
    share: float
    distortion: float


@dataclass(frozen=True, slots=True)
class Found:
    """Both ways on the same pictures.

    Attributes:
        pictures: how many.
        budget: bytes.
        largest_difference: bytes by which a picture's share differs from that of `allocate`, most.
        shares: bytes of all shares together.
        expected: distortion at the shares over that at `allocate`'s, by the measured curves.
        spent: by each way, for real.
    """

    pictures: int
    budget: int
    largest_difference: int
    shares: int
    expected: float
    spent: list[Spent]


def measure(folder: Path, profile: str, bpp: float, output: Path) -> Found:
    """Spend `bpp` bits per pixel of all pictures in both ways."""
    command = [sys.executable, "-c", "from service.cli import main; main()", "compress", str(folder)]
    options = ["--engine", "ray", "--budget-bpp", str(bpp), "--profile", profile, "-o", str(output)]
    subprocess.run([*command, *options], check=True)
    journal = Journal(str(output), MeasuredRow)
    rows = {row.path: row for _, part in journal.read_all() for row in rows_of(part, MeasuredRow)}
    made = {
        str(Path(row["source"]).relative_to(folder.absolute())): row
        for row in pq.read_table(output / MANIFEST_NAME).to_pylist()
    }
    names = sorted(rows)
    codec = LearnedCodec.load(profile)
    curves = [RateDistortion.of(rows[name].measured, codec.metric, rows[name].pixels) for name in names]
    budget = int(bpp * sum(rows[name].pixels for name in names) / 8)
    allocation = allocate(curves, budget)
    shares = [made[name]["max_bytes"] for name in names]

    def distortion(measured: list[Measured]) -> float:
        return sum(
            point.distortion(codec.metric, rows[name].pixels)
            for point, name in zip(measured, names, strict=True)
        )

    def expected(budgets: list[int]) -> float:
        return sum(curve(size) for curve, size in zip(curves, budgets, strict=True))

    def pictures() -> Iterator[Picture]:
        return (decode((folder / name).read_bytes(), max_pixels=MAX_PIXELS).picture for name in names)

    ways = {
        "bulk": [
            Measured(row["bytes"], 10 ** (-row["psnr"] / 10), row["ms_ssim"])
            for row in (made[name] for name in names)
        ],
        "one after the other": [
            compare(codec, picture, codec.decode([stream.data]), [len(stream.data)])[0]
            for picture, stream in zip(pictures(), encode(codec, pictures(), allocation, budget), strict=True)
        ],
    }
    spent = []
    for way, measured in ways.items():
        size = sum(point.size for point in measured)
        spent.append(Spent(way, size, size / budget, distortion(measured)))
    return Found(
        len(names),
        budget,
        max(abs(share - exact) for share, exact in zip(shares, allocation.budgets, strict=True)),
        sum(shares),
        expected(shares) / expected(list(allocation.budgets)),
        spent,
    )


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "bulk_budget.json")
    add_folder(options)
    options.add_argument("--bpp", type=float, default=0.3)
    options.add_argument("--profile", default="ms-ssim")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as output:
        found = measure(arguments.folder, arguments.profile, arguments.bpp, Path(output))
    console = Console()
    console.print(
        f"{found.pictures} pictures, {found.budget} bytes: shares of {found.shares} bytes, at most "
        f"{found.largest_difference} from allocate's; expected distortion {found.expected - 1:+.2e}"
    )
    for way in found.spent:
        ratio = way.distortion / found.spent[-1].distortion - 1
        console.print(f"{way.way}: {way.bytes} bytes ({way.share:.2%}), distortion {ratio:+.2%}")
    write(arguments.output, asdict(found))


if __name__ == "__main__":
    main()
