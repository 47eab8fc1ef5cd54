"""Replicas behind a balancer: what becomes of requests and streams when one of them goes.

    python -m benchmarks.replicas kodak/ [--only kill scale-down ...] [--output replicas.json]

Three `ziggurat serve` on one S3 server (moto), behind HAProxy with the configuration that Compose
and Kubernetes have. Each fault has its own replicas. Compressions of the folder's pictures come by
an open model, each to a quality of its own; in the middle is the fault. A client whose connection
is cut, or who gets 502 from the balancer, repeats its request, as compressing twice stores the same
stream once. Those are counted apart from requests that were answered at once.

Then: was every request answered, with 201, 429 or 503 and Retry-After; is every stream that was
acknowledged there, byte for byte; does it decode to the same bytes on every replica. Prints a
table, writes JSON, exits with 1 when a promise was broken. Where network namespaces are not allowed
all replicas have addresses of loopback, and no cable is pulled.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.open_model import FAILURES, Answer, arrivals, run
from benchmarks.program import add_folder, files_of, parser, write
from benchmarks.rehearsal import Balancer, Place, Replica, network, served, store
from benchmarks.server import client, value

REPLICAS = 3
DRAIN_SECONDS = 8  # the balancer has noticed by then: three checks, two seconds apart
TIMEOUT_SECONDS = 60
ATTEMPTS = 20  # of a client whose connection was cut, half a second apart
DECODED = 4  # streams that every replica decodes
CUT_STATUSES = {502, 504}  # of the balancer, when a replica goes in the middle of an answer
REFUSALS = {429, 503}


@dataclass(slots=True)
class Trial:
    """One fault, and what came of it.

    Attributes:
        fault: its name.
        first: answers at the first attempt by status.
        cut: requests whose first attempt was cut, by how.
        after_retry: their answers in the end, by status; "none" when there was none.
        longest_cut_seconds: from when a request was due to its answer, of those that were cut.
        longest_seconds: the same of all others.
        acknowledged: streams by their ids.
        served: requests by replica, as the balancer tells.
        broken: promises, in words.
    """

    fault: str
    first: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    after_retry: Counter[str] = field(default_factory=Counter)
    longest_cut_seconds: float = 0.0
    longest_seconds: float = 0.0
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    served: Mapping[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def promise(self, kept: bool, words: str) -> None:
        """Remember a promise that was not kept."""
        if not kept:
            self.broken.append(words)

    def facts(self) -> dict[str, object]:
        """Give what the JSON has of it."""
        facts: dict[str, object] = {each.name: getattr(self, each.name) for each in fields(self)}
        return facts | {"acknowledged": len(self.acknowledged)}


@dataclass(slots=True)
class Scene:
    """What a fault can break."""

    replicas: list[Replica]
    balancer: Balancer
    trial: Trial


async def busy(replica: Replica) -> None:
    """Wait until a replica has a request at work."""
    while not value(await replica.metrics(), "ziggurat_queue_pixels"):
        await asyncio.sleep(0.02)


async def kill(scene: Scene) -> None:
    """kill -9 one replica, and start it again two seconds later, as an orchestrator does."""
    victim = scene.replicas[0]
    await busy(victim)
    victim.kill()
    await asyncio.sleep(2)
    victim.restart()
    await victim.ready()


async def scale_down(scene: Scene) -> None:
    """SIGTERM to one replica, which does not come back: nobody notices, and it ends with 0."""
    victim = scene.replicas[1]
    await busy(victim)
    victim.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(victim.process.wait, 120)
    scene.trial.promise(code == 0, f"the exit code was {code}")


async def balancer(scene: Scene) -> None:
    """kill -9 the balancer, and start it again a second later."""
    await busy(scene.replicas[0])
    scene.balancer.kill()
    await asyncio.sleep(1)
    scene.balancer.restart()
    await scene.balancer.ready()


async def cable(scene: Scene) -> None:
    """Pull the cable of one replica for 25 s: what was sent there vanishes without a word."""
    place = scene.replicas[2].place
    if place.namespace is None:
        scene.trial.broken.append("not run: network namespaces are not allowed here")
        return
    await busy(scene.replicas[2])
    place.pull_cable()
    await asyncio.sleep(25)
    place.put_cable_back()


async def nothing(scene: Scene) -> None:
    """No fault, for comparison."""


FAULTS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "nothing": nothing,
    "kill": kill,
    "scale-down": scale_down,
    "balancer": balancer,
    "cable": cable,
}
CUTS_NOBODY = {"nothing", "scale-down"}


class Client:
    """Compresses pictures one after the other, and repeats a request whose connection was cut."""

    def __init__(self, url: str, trial: Trial, bodies: Sequence[bytes]) -> None:
        self._url = url
        self._trial = trial
        self._bodies = cycle(bodies)
        self._rng = random.Random(trial.fault)

    async def compress(self) -> Answer:
        """Compress once; the answer is the last attempt's."""
        begun = time.monotonic()
        path = f"{self._url}/compress?quality={self._rng.uniform(20, 60):.4f}"
        body = next(self._bodies)
        cut = ""
        status = 0
        retry_after = None
        for _ in range(ATTEMPTS):
            how, status, retry_after = await self._attempt(path, body)
            if not how:
                break
            cut = cut or how
            await asyncio.sleep(0.5)
        seconds = time.monotonic() - begun
        answered = str(status) if status and status not in CUT_STATUSES else "none"
        if cut:
            self._trial.cut[cut] += 1
            self._trial.after_retry[answered] += 1
            self._trial.longest_cut_seconds = max(self._trial.longest_cut_seconds, seconds)
        else:
            self._trial.first[answered] += 1
            self._trial.longest_seconds = max(self._trial.longest_seconds, seconds)
        if status in REFUSALS:
            patient = (retry_after or "").isdecimal()
            self._trial.promise(patient, f"{status} has no Retry-After")
        return Answer("compress", status, retry_after=retry_after)

    async def _attempt(self, path: str, body: bytes) -> tuple[str, int, str | None]:
        """Send once. Returns how it was cut, or nothing; the status; Retry-After."""
        try:
            async with client() as http:
                answer = await http.post(path, content=body)
        except FAILURES as error:
            return type(error).__name__, 0, None
        if answer.status_code == 201:
            stream_id = answer.headers["location"].rpartition("/")[2]
            self._trial.acknowledged[stream_id] = answer.content
        how = str(answer.status_code) if answer.status_code in CUT_STATUSES else ""
        return how, answer.status_code, answer.headers.get("retry-after")


async def check_streams(trial: Trial, scene: Scene) -> None:
    """Compare every acknowledged stream with what is stored, and decode some on every replica."""
    alive = [replica for replica in scene.replicas if replica.process.poll() is None]
    trial.promise(len(trial.acknowledged) > 0, "something was acknowledged")
    wrong = 0
    async with client() as http:
        for number, (stream_id, stream) in enumerate(trial.acknowledged.items()):
            replica = alive[number % len(alive)]
            answer = await http.get(f"{replica.url}/bitstreams/{stream_id}")
            wrong += answer.status_code != 200 or answer.content != stream
        for stream_id in list(trial.acknowledged)[:: max(1, len(trial.acknowledged) // DECODED)]:
            pictures = set()
            for replica in alive:
                answer = await http.get(f"{replica.url}/decompress/{stream_id}?format=png")
                pictures.add((answer.status_code, hashlib.sha256(answer.content).hexdigest()))
            same = len(pictures) == 1 and {status for status, _ in pictures} == {200}
            trial.promise(same, f"a stream does not decode alike on {len(alive)} replicas")
    trial.promise(not wrong, f"{wrong} of {len(trial.acknowledged)} acknowledged streams are lost or changed")


async def run_trial(
    fault: str, places: Sequence[Place], bodies: Sequence[bytes], arguments: argparse.Namespace, folder: Path
) -> Trial:
    """Start everything, load it, break something, and look what is left."""
    trial = Trial(fault)
    logs = f"{arguments.log}-{fault}"
    settings = {
        "models": "psnr",
        "profile": "psnr",
        "threads": 1,
        "image_workers": 1,
        "drain_seconds": DRAIN_SECONDS,
        "request_timeout_seconds": TIMEOUT_SECONDS,
        "max_queued_pixels": arguments.queued_pixels,
    }
    replicas = [
        Replica(place, Path(f"{logs}-{number}.log"), **settings) for number, place in enumerate(places)
    ]
    in_front = None
    try:
        for replica in replicas:
            await replica.ready()
        balancer_log = Path(f"{logs}-balancer.log")
        balancer_log.unlink(missing_ok=True)
        in_front = Balancer(places, folder, balancer_log)
        await in_front.ready()
        scene = Scene(replicas, in_front, trial)
        sender = Client(in_front.url, trial, bodies)
        loading = asyncio.create_task(run(arrivals(arguments.rate, arguments.seconds), sender.compress))
        await asyncio.sleep(arguments.seconds / 3)
        await FAULTS[fault](scene)
        await loading
        await check_streams(trial, scene)
        trial.served = served(balancer_log)
    finally:
        if in_front is not None:
            in_front.kill()
        for replica in replicas:
            if replica.process.poll() is None:
                replica.kill()
    unanswered = trial.after_retry["none"] + trial.first["none"]
    trial.promise(not unanswered, f"{unanswered} requests have no answer")
    strange = {*trial.first, *trial.after_retry} - {"201", "429", "503", "none"}
    trial.promise(not strange, f"answers that nobody expects: {sorted(strange)}")
    if fault in CUTS_NOBODY:
        trial.promise(not trial.cut, f"{sum(trial.cut.values())} requests were cut")
    return trial


async def measure(arguments: argparse.Namespace, bodies: Sequence[bytes]) -> list[Trial]:
    """Run the trials, one after another."""
    trials = []
    with TemporaryDirectory(prefix="ziggurat-replicas-") as folder, network(REPLICAS) as places:
        print("network namespaces" if places[0].namespace else "addresses of loopback", flush=True)
        with store(Path(f"{arguments.log}-store.log")):
            for fault in arguments.only:
                trial = await run_trial(fault, places, bodies, arguments, Path(folder))
                print(f"{fault}: {'kept' if not trial.broken else trial.broken}", flush=True)
                trials.append(trial)
    return trials


def table(trials: Sequence[Trial]) -> Table:
    """Lay out the trials for the terminal."""
    headings = ("fault", "answered at once", "cut", "after the client's retry", "longest s", "promises")
    shown = Table(*headings, box=box.SIMPLE)
    for trial in trials:
        longest = f"{trial.longest_seconds:.1f}"
        if trial.cut:
            longest += f", cut {trial.longest_cut_seconds:.1f}"
        shown.add_row(
            trial.fault,
            _counts(trial.first),
            _counts(trial.cut) or "none",
            _counts(trial.after_retry) or "-",
            longest,
            "; ".join(trial.broken) or "kept",
        )
    return shown


def main() -> None:
    """Run, print, write; exit code 1 when a promise was broken."""
    options = parser(__doc__, "replicas.json")
    add_folder(options)
    options.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    options.add_argument("--rate", type=float, default=2.0, help="compressions a second")
    options.add_argument("--seconds", type=float, default=30.0, help="of load; the fault comes after a third")
    options.add_argument(
        "--queued-pixels", type=int, default=80_000_000, help="that each replica admits; beyond it 429"
    )
    options.add_argument("--log", type=Path, default=Path("replicas"), help="where the logs go")
    arguments = options.parse_args()
    bodies = [path.read_bytes() for path in files_of(arguments.folder)]
    trials = asyncio.run(measure(arguments, bodies))
    Console(width=160).print(table(trials))
    write(
        arguments.output,
        {
            "rate": arguments.rate,
            "seconds": arguments.seconds,
            "queued_pixels": arguments.queued_pixels,
            "replicas": REPLICAS,
            "trials": [trial.facts() for trial in trials],
        },
    )
    sys.exit(any(trial.broken for trial in trials))


def _counts(counted: Mapping[str, int]) -> str:
    return " ".join(f"{name}: {count}" for name, count in sorted(counted.items()))


if __name__ == "__main__":
    main()
