"""Before and after: two checkouts of this repository timed in turns, in one run.

    python -m benchmarks.before_after --old ../before --new . --pictures kodak/ [--rounds 6]
        [--output before_after.json]

Both encode and decode the same pictures at 0.15 bits per pixel, with both profiles, with
post-processing and without; then a server of each compresses and decompresses them over HTTP. A
round does everything once with the old checkout and once with the new one, so that whatever else
the machine does meets them alike; the next round begins with the other. What counts are the ratios
within a round. Prints medians and ratios, and writes JSON.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.before_after_worker import BPP
from benchmarks.program import files_of, parser, write
from benchmarks.server import Server, client, python_of, serve_from

WORKER = Path(__file__).with_name("before_after_worker.py")

Seconds = Mapping[str, float]
"""Seconds per picture by what was done."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that both checkouts did; times are seconds per picture, one for each round.

    Attributes:
        name: of what was done.
        old: by the old checkout.
        new: by the new one.
        ratios: new to old, round by round.
    """

    name: str
    old: list[float]
    new: list[float]
    ratios: list[float]

    @classmethod
    def from_rounds(cls, name: str, rounds: Sequence[tuple[Seconds, Seconds]]) -> Row:
        """Collect one thing from all rounds."""
        old = [seconds[name] for seconds, _ in rounds]
        new = [seconds[name] for _, seconds in rounds]
        return cls(name, old, new, [after / before for before, after in zip(old, new, strict=True)])


class Checkout:
    """One checkout: its codecs in a process of their own, and its server in another.

    Args:
        path: of the checkout.
        files: pictures.
        scratch: empty folder for logs.
    """

    def __init__(self, path: Path, files: Sequence[Path], scratch: Path) -> None:
        self.path = path.resolve()
        self._files = files
        self._bodies = [file.read_bytes() for file in files]
        self._log = scratch / "worker.log"
        self._server = Server(scratch / "server.log", command=serve_from(self.path), store="memory://")
        self._worker: asyncio.subprocess.Process | None = None

    @property
    def commit(self) -> str:
        """Commit that is checked out; "unknown" outside of a repository."""
        command = ["git", "-C", str(self.path), "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"

    async def __aenter__(self) -> Checkout:
        await self._server.__aenter__()
        with self._log.open("wb") as log:
            self._worker = await asyncio.create_subprocess_exec(
                *python_of(self.path),
                str(WORKER),
                *map(str, self._files),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._worker is not None and self._worker.returncode is None:
            self._worker.kill()
            await self._worker.wait()
        await self._server.__aexit__(None, None, None)

    async def measure(self) -> dict[str, float]:
        """Do everything once.

        Raises:
            RuntimeError: the codecs' process ended.
        """
        return {**await self._measure_codecs(), **await self._measure_server()}

    async def _measure_codecs(self) -> dict[str, float]:
        assert self._worker is not None
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(b"\n")
        await self._worker.stdin.drain()
        line = await self._worker.stdout.readline()
        if not line:
            raise RuntimeError(f"{WORKER.name} ended: {self._log.read_text()}")
        seconds: dict[str, float] = json.loads(line)
        return seconds

    async def _measure_server(self) -> dict[str, float]:
        compress = 0.0
        decompress = 0.0
        url = self._server.url
        async with client() as http:
            for body in self._bodies:
                begun = time.perf_counter()
                stored = await http.post(f"{url}/compress?bpp={BPP}", content=body)
                compress += time.perf_counter() - begun
                stored.raise_for_status()
                stream_id = stored.headers["location"].rpartition("/")[2]
                begun = time.perf_counter()
                decoded = await http.get(f"{url}/decompress/{stream_id}")
                decompress += time.perf_counter() - begun
                decoded.raise_for_status()
        return {
            "POST /compress": compress / len(self._bodies),
            "GET /decompress": decompress / len(self._bodies),
        }


async def measure(old: Checkout, new: Checkout, rounds: int) -> list[Row]:
    """Take the rounds, after one that does not count."""
    measured: list[tuple[Seconds, Seconds]] = []
    async with AsyncExitStack() as stack:
        for checkout in (old, new):
            await stack.enter_async_context(checkout)
            await checkout.measure()
        for number in range(rounds):
            if number % 2 == 0:
                before = await old.measure()
                after = await new.measure()
            else:  # the second of a round is at a disadvantage of some per cent, so they take turns
                after = await new.measure()
                before = await old.measure()
            measured.append((before, after))
    return [Row.from_rounds(name, measured) for name in measured[0][0]]


def table(rows: Sequence[Row], title: str) -> Table:
    """Lay out the rows for the terminal."""
    shown = Table("seconds per picture", title=title, box=box.SIMPLE)
    for heading in ("old", "new", "new / old", "round by round"):
        shown.add_column(heading, justify="right")
    for row in rows:
        shown.add_row(
            row.name,
            f"{statistics.median(row.old):.4f}",
            f"{statistics.median(row.new):.4f}",
            f"{statistics.median(row.ratios):.3f}",
            " ".join(f"{ratio:.3f}" for ratio in row.ratios),
        )
    return shown


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "before_after.json")
    options.add_argument("--old", type=Path, required=True, help="checkout to compare with")
    options.add_argument("--new", type=Path, required=True, help="checkout that is judged")
    options.add_argument("--pictures", type=Path, required=True, help="folder of pictures")
    options.add_argument("--rounds", type=int, default=6)
    arguments = options.parse_args()
    files = files_of(arguments.pictures)
    with TemporaryDirectory(prefix="ziggurat-before-after-") as folder:
        checkouts = []
        for name, path in (("old", arguments.old), ("new", arguments.new)):
            scratch = Path(folder) / name
            scratch.mkdir()
            checkouts.append(Checkout(path, files, scratch))
        old, new = checkouts
        rows = asyncio.run(measure(old, new, arguments.rounds))
    title = f"{old.commit} and {new.commit}, {len(files)} pictures at {BPP:g} bpp"
    Console(width=120).print(table(rows, title))
    facts = {
        "old": old.commit,
        "new": new.commit,
        "images": [file.name for file in files],
        "bpp": BPP,
        "rounds": arguments.rounds,
        "rows": [asdict(row) for row in rows],
    }
    write(arguments.output, facts)


if __name__ == "__main__":
    main()
