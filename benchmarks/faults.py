"""Faults under load: what becomes of requests and streams when something breaks.

    python -m benchmarks.faults [--only worker device-dies ...] [--output faults.json]

Each fault has a real server of its own. Compressions come by an open model, /livez and /readyz are
asked all the while; in the middle of it is the fault. Then: was every request answered (a
connection may fail only where the process is gone); is every stream that was acknowledged with 201
still there, byte for byte, and does it decode; did /livez and /readyz tell the truth; did the
service recover where it should. Prints a table, writes JSON, exits with 1 when a promise was
broken. A full disk is a small tmpfs, which takes the right to mount one.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.program import parser, write
from benchmarks.server import Server, value
from benchmarks.trial import Load, Trial, check_answers, check_streams

STALL_SECONDS = 12.0  # without a beat until /livez is red, in these runs
TIMEOUT_SECONDS = 40.0  # that a request may take, in these runs
FAULTY_COMMAND = [sys.executable, "-m", "benchmarks.faulty", "serve"]


async def kill_worker(trial: Trial, folder: Path, rate: float, seconds: float) -> None:
    """kill -9 every worker that codes, one after another."""
    async with Server(folder / "log", store=folder / "store", entropy_workers=2) as server:

        async def fault() -> None:
            for worker in [
                process for process in server.workers() if "spawn_main" in " ".join(process.cmdline())
            ]:
                worker.kill()
                trial.notes.append("worker killed")
                await asyncio.sleep(seconds / 6)

        await Load(server, trial, rate, seconds).run(fault)
        restarts = value(await server.metrics(), "ziggurat_entropy_worker_restarts_total")
        # The second entropy worker begins when the first has not ended its job, and the AVIF search
        # has workers like them. The one last used is the first to be used again; a spare that died
        # is replaced when its turn comes.
        trial.promise(len(trial.notes) >= 1, "there was a worker to kill")
        trial.promise(1 <= restarts <= 2, f"workers were replaced {restarts:g} times and not once or twice")
        trial.promise({status for _, _, status in trial.health} == {200}, "/livez and /readyz stayed green")
        trial.promise({answer.status for _, answer in trial.answers} <= {201, 429}, "nobody noticed")
        await check_streams(trial, server)


async def device_dies(trial: Trial, folder: Path, rate: float, seconds: float) -> None:
    """The device thread ends; an orchestrator restarts the process because /livez is red."""
    await _break_device(trial, folder, rate, seconds, signal.SIGUSR1, red_after=4.0)


async def device_sticks(trial: Trial, folder: Path, rate: float, seconds: float) -> None:
    """The device thread hangs inside the network."""
    await _break_device(
        trial, folder, rate, max(seconds, 4 * STALL_SECONDS), signal.SIGUSR2, red_after=STALL_SECONDS + 4
    )


async def _break_device(
    trial: Trial,
    folder: Path,
    rate: float,
    seconds: float,
    number: signal.Signals,
    red_after: float,
) -> None:
    settings = {
        "store": folder / "store",
        "stall_seconds": STALL_SECONDS,
        "request_timeout_seconds": TIMEOUT_SECONDS,
    }
    async with Server(folder / "log", command=FAULTY_COMMAND, **settings) as server:

        async def fault() -> None:
            server.process.send_signal(number)

        await Load(server, trial, rate, seconds).run(fault)
        red = trial.healths("/livez", after=trial.fault_at + red_after)
        trial.promise(
            bool(red) and set(red) == {503}, f"/livez is red from {red_after:g} s after the fault on"
        )
        trial.promise(
            set(trial.healths("/livez", after=0, before=trial.fault_at)) == {200}, "/livez was green before"
        )
        ready = trial.healths("/readyz", after=trial.fault_at + red_after)
        trial.promise(set(ready) == {503}, "/readyz is red as well")
        server.process.kill()
        server.restart()
        await server.ready()
        await check_streams(trial, server)


async def disk_full(trial: Trial, folder: Path, rate: float, seconds: float) -> None:
    """The store's disk is full; deleting makes room."""
    with tmpfs(folder / "store", kilobytes=256):
        # Without a quota, which would be full long before the disk.
        async with Server(folder / "log", store=folder / "store", store_max_bytes=0) as server:

            async def fault() -> None:
                room = 256 << 10
                with (folder / "store" / "ballast").open("wb", buffering=0) as file:
                    while room >= 512:  # as much as fits, to the last page
                        try:
                            file.write(bytes(room))
                        except OSError:
                            room //= 2

            load = Load(server, trial, rate, seconds)
            await load.run(fault)
            refused = {answer.status for due, answer in trial.answers if due > trial.fault_at + 5}
            trial.promise(
                bool(refused) and refused <= {503, 507, 429},
                f"a full disk is 507 or 503, not {sorted(refused)}",
            )
            trial.promise(
                set(trial.healths("/livez", after=0)) == {200}, "/livez stayed green: a restart makes no room"
            )
            await check_streams(trial, server)
            (folder / "store" / "ballast").unlink()
            await asyncio.sleep(1)
            answer = await load.compress()
            trial.promise(answer.status == 201, f"with room again it is 201, not {answer.status}")
            await check_streams(trial, server)


async def sigterm(trial: Trial, folder: Path, rate: float, seconds: float) -> None:
    """SIGTERM: what was accepted is finished, new work is refused, the exit code is 0."""
    async with Server(folder / "log", store=folder / "store", drain_seconds=2) as server:

        async def fault() -> None:
            trial.gone = (time.monotonic(), float("inf"))
            server.process.send_signal(signal.SIGTERM)

        await Load(server, trial, rate, seconds).run(fault)
        code = await asyncio.to_thread(server.process.wait, 60)
        # uvicorn ends itself with the signal that stopped it, as the convention for processes is
        trial.promise(code in {0, -signal.SIGTERM}, f"the exit code was {code}")
        red = trial.healths("/readyz", after=trial.fault_at + 0.5)
        trial.promise(bool(red) and 200 not in red, "/readyz is red from the signal on")
        server.restart()
        await server.ready()
        trial.gone = (trial.gone[0], time.monotonic())
        await check_streams(trial, server)


async def sigkill(trial: Trial, folder: Path, rate: float, seconds: float) -> None:
    """SIGKILL and a restart."""
    async with Server(folder / "log", store=folder / "store") as server:

        async def fault() -> None:
            # Requests in flight go down with the process, and may have no answer.
            trial.gone = (time.monotonic() - TIMEOUT_SECONDS, float("inf"))
            server.process.kill()
            server.restart()
            await server.ready()
            trial.gone = (trial.gone[0], time.monotonic())

        await Load(server, trial, rate, seconds).run(fault)
        later = [answer.status for due, answer in trial.answers if due > trial.gone[1]]
        trial.promise(set(later) <= {201, 429}, "it serves again after its restart")
        await check_streams(trial, server)


@contextmanager
def tmpfs(folder: Path, *, kilobytes: int) -> Iterator[None]:
    """Mount a small file system at `folder`, which is created.

    Raises:
        PermissionError: mounting is not allowed.
    """
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        raise PermissionError(mounted.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


FAULTS = {
    "worker": kill_worker,
    "device-dies": device_dies,
    "device-sticks": device_sticks,
    "disk-full": disk_full,
    "sigterm": sigterm,
    "sigkill": sigkill,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of one trial.

    Attributes:
        fault: its name.
        answers: number by status, or by the error where there was no answer.
        acknowledged: number of streams.
        livez: number of answers by status.
        readyz: number of answers by status.
        broken: promises, in words.
    """

    fault: str
    answers: dict[str, int]
    acknowledged: int
    livez: dict[str, int]
    readyz: dict[str, int]
    broken: list[str]

    @classmethod
    def from_trial(cls, trial: Trial) -> Outcome:
        """Count a trial's answers."""
        livez, readyz = (
            Counter(str(status) for _, asked, status in trial.health if asked == path)
            for path in ("/livez", "/readyz")
        )
        answers = Counter(str(answer.status or answer.error) for _, answer in trial.answers)
        acknowledged = len(trial.acknowledged)
        return cls(trial.name, dict(answers), acknowledged, dict(livez), dict(readyz), trial.broken)


def table(outcomes: Sequence[Outcome]) -> Table:
    """Lay out the trials for the terminal."""
    headings = ("fault", "answers", "acknowledged", "/livez", "/readyz", "promises")
    shown = Table(*headings, box=box.SIMPLE)
    for outcome in outcomes:
        shown.add_row(
            outcome.fault,
            _counts(outcome.answers),
            str(outcome.acknowledged),
            _counts(outcome.livez),
            _counts(outcome.readyz),
            "; ".join(outcome.broken) or "kept",
        )
    return shown


async def measure(arguments: argparse.Namespace) -> list[Trial]:
    """Run the trials, one after another."""
    trials = []
    for name in arguments.only:
        trial = Trial(name)
        with TemporaryDirectory(prefix=f"ziggurat-{name}-") as folder:
            try:
                await FAULTS[name](trial, Path(folder), arguments.rate, arguments.seconds)
            except PermissionError as error:
                trial.broken.append(f"not run: {error}")
            except (RuntimeError, OSError, httpx2.TransportError) as error:
                trial.broken.append(f"the trial broke off: {error!r}")
            check_answers(trial)
            shutil.move(Path(folder) / "log", f"{arguments.log}-{name}.log")
        print(f"{name}: {'kept' if not trial.broken else trial.broken}", flush=True)
        trials.append(trial)
    return trials


def main() -> None:
    """Run, print, write; exit code 1 when a promise was broken."""
    options = parser(__doc__, "faults.json")
    options.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    options.add_argument("--rate", type=float, default=2.0, help="compressions a second")
    options.add_argument(
        "--seconds",
        type=float,
        default=30.0,
        help="of load for each fault; it happens after a third",
    )
    options.add_argument("--log", type=Path, default=Path("faults"), help="where the servers' logs go")
    arguments = options.parse_args()
    trials = asyncio.run(measure(arguments))

    outcomes = [Outcome.from_trial(trial) for trial in trials]
    Console(width=160).print(table(outcomes))
    facts = {
        "rate": arguments.rate,
        "seconds": arguments.seconds,
        "faults": [asdict(outcome) for outcome in outcomes],
    }
    write(arguments.output, facts)
    sys.exit(any(trial.broken for trial in trials))


def _counts(counted: Mapping[str, int]) -> str:
    return " ".join(f"{name}: {count}" for name, count in sorted(counted.items()))


if __name__ == "__main__":
    main()
