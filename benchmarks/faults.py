"""What happens to requests and streams when something breaks under load.

    python -m benchmarks.faults [--only worker device-dies ...] [--output faults.json]

One real server for each fault, compressions by an open model, /livez and /readyz asked all the while; in the middle of it the fault. Then:
was every request answered (a connection may fail only where the process is gone), is every stream that was acknowledged with 201 still
there, byte for byte, and does it decode; did /livez and /readyz tell the truth; did the service recover where it should. Prints a
table, writes JSON, exits with 1 when a promise was broken. A full disk is a small tmpfs, which takes the right to mount one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.server import Server, value
from benchmarks.trial import Load, Trial, check_answers, check_streams

STALL = 12.0  # seconds without a beat until /livez is red, in these runs
TIMEOUT = 40.0  # seconds that a request may take, in these runs
FAULTY = [sys.executable, "-m", "benchmarks.faulty", "serve"]


async def kill_worker(trial: Trial, folder: Path, rate: float, seconds: float) -> None:
    """kill -9 every entropy worker, one after another."""
    async with Server(folder / "log", store=folder / "store", entropy_workers=2) as server:

        async def fault() -> None:
            for worker in [process for process in server.workers() if "spawn_main" in " ".join(process.cmdline())]:
                worker.kill()
                trial.notes.append("worker killed")
                await asyncio.sleep(seconds / 6)

        await Load(server, trial, rate, seconds).run(fault)
        restarts = value(await server.metrics(), "ziggurat_entropy_worker_restarts_total")
        trial.promise(len(trial.notes) == 2, "there were two workers to kill")
        # The one last used is the first to be used again; a spare that died is replaced when its turn comes.
        trial.promise(1 <= restarts <= 2, f"workers were replaced {restarts:g} times and not once or twice")
        trial.promise({status for _, _, status in trial.health} == {200}, "/livez and /readyz stayed green")
        trial.promise({answer.status for _, answer in trial.answers} <= {201, 429}, "nobody noticed")
        await check_streams(trial, server)


async def device_dies(trial: Trial, folder: Path, rate: float, seconds: float) -> None:
    """The device thread ends; an orchestrator restarts the process because /livez is red."""
    await _break_device(trial, folder, rate, seconds, signal.SIGUSR1, red_after=4.0)


async def device_sticks(trial: Trial, folder: Path, rate: float, seconds: float) -> None:
    """The device thread hangs inside the network."""
    await _break_device(trial, folder, rate, max(seconds, 4 * STALL), signal.SIGUSR2, red_after=STALL + 4)


async def _break_device(trial: Trial, folder: Path, rate: float, seconds: float, number: signal.Signals, red_after: float) -> None:
    settings = {"store": folder / "store", "stall_seconds": STALL, "request_timeout_seconds": TIMEOUT}
    async with Server(folder / "log", command=FAULTY, **settings) as server:

        async def fault() -> None:
            server.process.send_signal(number)

        await Load(server, trial, rate, seconds).run(fault)
        red = trial.healths("/livez", after=trial.fault_at + red_after)
        trial.promise(bool(red) and set(red) == {503}, f"/livez is red from {red_after:g} s after the fault on")
        trial.promise(set(trial.healths("/livez", after=0, before=trial.fault_at)) == {200}, "/livez was green before")
        ready = trial.healths("/readyz", after=trial.fault_at + red_after)
        trial.promise(set(ready) == {503}, "/readyz is red as well")
        server.process.kill()
        server.restart()
        await server.ready()
        await check_streams(trial, server)


async def disk_full(trial: Trial, folder: Path, rate: float, seconds: float) -> None:
    """The store's disk is full; deleting makes room."""
    with tmpfs(folder / "store", kilobytes=256):
        async with Server(folder / "log", store=folder / "store") as server:

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
            trial.promise(bool(refused) and refused <= {503, 507, 429}, f"a full disk is 507 or 503, not {sorted(refused)}")
            trial.promise(set(trial.healths("/livez", after=0)) == {200}, "/livez stayed green: a restart makes no room")
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
            # Requests in flight go down with the process: those of the last moments may have no answer.
            trial.gone = (time.monotonic() - TIMEOUT, float("inf"))
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
    """A small file system at `folder`. Raises PermissionError where mounting is not allowed."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)], capture_output=True, text=True)
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


async def measure(arguments: argparse.Namespace) -> list[Trial]:
    """All trials, one after another."""
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--rate", type=float, default=2.0, help="compressions a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of load for each fault; it happens after a third")
    parser.add_argument("--log", type=Path, default=Path("faults"), help="where the servers' logs go")
    parser.add_argument("--output", type=Path, default=Path("faults.json"), help="where the JSON goes")
    arguments = parser.parse_args()
    trials = asyncio.run(measure(arguments))

    table = Table("fault", "answers", "acknowledged", "/livez", "/readyz", "promises", box=box.SIMPLE)
    rows: list[dict[str, object]] = []
    for trial in trials:
        statuses = Counter(str(answer.status or answer.error) for _, answer in trial.answers)
        livez, readyz = (Counter(str(status) for _, asked, status in trial.health if asked == path) for path in ("/livez", "/readyz"))
        kept = "kept" if not trial.broken else "; ".join(trial.broken)
        table.add_row(trial.name, _counts(statuses), str(len(trial.acknowledged)), _counts(livez), _counts(readyz), kept)
        facts = {"answers": statuses, "acknowledged": len(trial.acknowledged), "livez": livez, "readyz": readyz, "broken": trial.broken}
        rows.append({"fault": trial.name} | facts)
    Console(width=160).print(table)
    arguments.output.write_text(json.dumps({"rate": arguments.rate, "seconds": arguments.seconds, "faults": rows}, indent=2) + "\n")
    sys.exit(any(trial.broken for trial in trials))


def _counts(counted: Counter[str]) -> str:
    return " ".join(f"{name}: {count}" for name, count in sorted(counted.items()))


if __name__ == "__main__":
    main()
