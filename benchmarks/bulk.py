"""Program: `compress --engine ray` against the plain command on the same pictures.

    python -m benchmarks.bulk FOLDER

Both run as processes, in turns, and take the same cores. The engine's run has what starting Ray and
its actors takes, and what each picture takes then; they are told apart by two runs of different
length. The ratio compares pictures a second without the start.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from .program import add_folder, files_of, parser, write

COMMAND = (sys.executable, "-c", "from service.cli import main; main()", "compress")
FEW = 4  # pictures of the short run


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of a command.

    Attributes:
        seconds: that it took.
        cpu_seconds: that the processor took, child processes included.
        driver_bytes: the most that the command's own process had resident.
    """

    seconds: float
    cpu_seconds: float
    driver_bytes: int


@dataclass(frozen=True, slots=True)
class Way:
    """A way to compress, from the quickest of its runs.

    Attributes:
        name: of the way.
        start_seconds: until the first picture is begun.
        picture_seconds: that each picture takes then.
        cpu_picture_seconds: of the processor, for each picture.
        driver_bytes: the most that the command's own process had resident.
    """

    name: str
    start_seconds: float
    picture_seconds: float
    cpu_picture_seconds: float
    driver_bytes: int

    @classmethod
    def of(cls, name: str, few: list[Ran], many: list[Ran], more: int) -> Way:
        """Tell start and pictures apart: the long runs have so many more pictures."""
        short, long = (min(run.seconds for run in runs) for runs in (few, many))
        cpu_short, cpu_long = (min(run.cpu_seconds for run in runs) for runs in (few, many))
        picture = max(long - short, 1e-9) / more
        return cls(
            name,
            max(0.0, short - FEW * picture),
            picture,
            (cpu_long - cpu_short) / more,
            max(run.driver_bytes for run in many),
        )


def run(*arguments: str) -> Ran:
    """Run the command to its end, and measure it.

    Raises:
        SystemExit: it failed.
    """
    begun = time.monotonic()
    # Ray's processes are children of the command when it starts a cluster of its own.
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment()
    )
    seen = _Seen(process.pid)
    seen.start()
    assert process.stderr is not None
    told = process.stderr.read().decode()
    if process.wait():
        raise SystemExit(told)
    seconds = time.monotonic() - begun
    seen.join()
    return Ran(seconds, sum(seen.cpu.values()), seen.driver_bytes)


def measure(files: list[Path], bpp: str, repeats: int) -> list[Way]:
    """Run both ways in turns, with few pictures and with all."""
    runs: dict[tuple[str, int], list[Ran]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folders = {}
        for count in (FEW, len(files)):
            folders[count] = Path(scratch, str(count))
            folders[count].mkdir()
            for file in files[:count]:
                (folders[count] / file.name).symlink_to(file.resolve())
        for _ in range(repeats):
            for count, folder in folders.items():
                for name, options in (("local", ["--jobs", "all"]), ("ray", [])):
                    output = Path(scratch, "out")
                    made = run(str(folder), "-o", f"{output}/", "--bpp", bpp, "--engine", name, *options)
                    runs.setdefault((name, count), []).append(made)
                    shutil.rmtree(output)
    more = len(files) - FEW
    return [Way.of(name, runs[name, FEW], runs[name, len(files)], more) for name in ("local", "ray")]


def table(ways: list[Way]) -> Table:
    """Lay out both ways for the terminal."""
    shown = Table(box=box.SIMPLE)
    for heading in ("", "start, s", "pictures/s", "CPU s a picture", "driver, MB"):
        shown.add_column(heading, justify="right")
    for way in ways:
        shown.add_row(
            way.name,
            f"{way.start_seconds:.1f}",
            f"{1 / way.picture_seconds:.2f}",
            f"{way.cpu_picture_seconds:.3f}",
            f"{way.driver_bytes / 1e6:.0f}",
        )
    local, ray = ways
    shown.caption = (
        f"ray / local: {local.picture_seconds / ray.picture_seconds:.2f} times the pictures a second, "
        f"{1000 * (ray.cpu_picture_seconds - local.cpu_picture_seconds):+.0f} ms of CPU a picture"
    )
    return shown


def main() -> None:
    """Measure, print and write."""
    options = parser(__doc__, "bulk.json")
    add_folder(options)
    options.add_argument("--bpp", default="0.3")
    options.add_argument("--pictures", type=int, default=48, help="of the long run")
    options.add_argument("--repeats", type=int, default=3)
    arguments = options.parse_args()
    files = files_of(arguments.folder)[: arguments.pictures]
    if len(files) <= FEW:
        raise SystemExit(f"more than {FEW} pictures are needed")
    ways = measure(files, arguments.bpp, arguments.repeats)
    Console().print(table(ways))
    facts = {"pictures": len(files), "bpp": arguments.bpp, "ways": [asdict(way) for way in ways]}
    write(arguments.output, json.loads(json.dumps(facts)))


class _Seen(threading.Thread):
    """Watches a process and its descendants until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self.cpu: dict[int, float] = {}
        self.driver_bytes = 0

    def run(self) -> None:
        """Look ten times a second."""
        while self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
            try:
                self.driver_bytes = max(self.driver_bytes, self._process.memory_info().rss)
                for process in (self._process, *self._process.children(recursive=True)):
                    times = process.cpu_times()
                    self.cpu[process.pid] = times.user + times.system
            except psutil.Error:
                pass  # one has ended meanwhile
            time.sleep(0.1)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}


if __name__ == "__main__":
    main()
