"""A Ray cluster under load: what becomes of requests and streams when a part of it is lost.

    python -m benchmarks.cluster [--only replica node ...] [--rate 3] [--seconds 30]

A head and three nodes on this machine, two of which have a replica and a balancer each, and a real
S3 server. Compressions come by an open model, to one balancer and the other. In the middle of it a
replica, a node or a balancer is killed, a new version replaces all replicas, or the queue makes a
second replica come and go. A client whose connection breaks sends its request again, to the other
balancer, as users of a balanced service do; these are counted by themselves. Then: did every
request end in 201, 429 or 503 with Retry-After; is every acknowledged stream there; does each
replica decode it to the same bytes; did the cluster recover. `bodies` sends long bodies and watches
the memory of the balancer, once with HAProxy and once with Ray's Python proxy. `metrics` has a real
Prometheus find the replicas and asks all that the dashboard asks. Prints tables, writes JSON, exits
with 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import psutil
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.cluster_nodes import Nodes, ReplicaFacts, free_port, prepare
from benchmarks.open_model import FAILURES, Answer, Summary, arrivals, run
from benchmarks.pictures import picture
from benchmarks.program import parser, write
from benchmarks.server import client

DOCKER = Path(__file__).parents[1] / "docker"
RECOVERY_SECONDS = 120.0
SMALL = (320, 240, "JPEG")
LARGER = (1920, 1080, "JPEG")  # at twice the rate, more than one replica can do
ATTEMPTS = 8  # of a request whose connection breaks
DECODED_STREAMS = 3  # of the acknowledged ones, all of which are compared
MAX_QUEUED_REQUESTS = 6  # of a replica, in these runs: bursts get 429


@dataclass
class Outcome:
    """One fault and what came of it.

    Attributes:
        fault: its name.
        load: the requests, with what their clients' repetitions cost them.
        repeated: requests sent again, by what broke their connection.
        acknowledged: number of streams.
        recovered_seconds: from the fault until all was as before; None where nothing was lost.
        notes: of the fault itself.
        broken: promises, in words.
    """

    fault: str
    load: Summary | None = None
    repeated: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0
    recovered_seconds: float | None = None
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def promise(self, kept: bool, words: str) -> None:
        """Remember a promise that was not kept."""
        if not kept:
            self.broken.append(words)


class Clients:
    """Compressions of one picture, each to a quality of its own: no two make the same stream."""

    def __init__(self, nodes: Nodes, seed: str, kind: tuple[int, int, str] = SMALL) -> None:
        self._nodes = nodes
        self._body = picture(*kind)
        self._rng = random.Random(seed)
        self._turn = count()
        self.repeated: Counter[str] = Counter()
        self.acknowledged: dict[str, bytes] = {}

    async def compress(self) -> Answer:
        """Compress once, on a connection of its own, or on several when they break."""
        query = f"quality={self._rng.uniform(20, 80):.4f}"
        for attempt in range(ATTEMPTS):
            balancers = list(self._nodes.balancers.values())
            url = f"{balancers[next(self._turn) % len(balancers)]}/compress?{query}"
            try:
                async with client() as http:
                    answer = await http.post(url, content=self._body, headers={"Connection": "close"})
                break
            except FAILURES as error:
                if attempt == ATTEMPTS - 1:
                    raise
                self.repeated[type(error).__name__] += 1
                await asyncio.sleep(0.25)
        if answer.status_code == 201:
            self.acknowledged[answer.headers["location"].rpartition("/")[2]] = answer.content
        return Answer("compress", answer.status_code, retry_after=answer.headers.get("retry-after"))


async def kill_replica(outcome: Outcome, nodes: Nodes) -> None:
    """kill -9 a replica's process; what it started must go with it."""
    victim = nodes.replicas()[0]
    process = psutil.Process(victim.pid)
    children = process.children(recursive=True)
    process.kill()
    _, orphans = await asyncio.to_thread(psutil.wait_procs, children, timeout=10)
    outcome.notes.append(f"{len(children)} child processes, {len(orphans)} of them left after 10 s")
    outcome.promise(not orphans, f"{len(orphans)} orphans of the replica")
    await recovery(outcome, nodes, without={victim.pid})


async def kill_node(outcome: Outcome, nodes: Nodes) -> None:
    """Kill all of a node at once, its balancer too; another has room for its replica."""
    victim = nodes.replicas()[0]
    await asyncio.to_thread(nodes.kill, victim.node)
    await recovery(outcome, nodes, without={victim.pid})


async def kill_balancer(outcome: Outcome, nodes: Nodes) -> None:
    """kill -9 a node's HAProxy; Ray has to start another."""
    node, url = next(iter(nodes.balancers.items()))
    for process in nodes.balancer_processes(node):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    begun = time.monotonic()
    while time.monotonic() - begun < RECOVERY_SECONDS:
        with suppress(*FAILURES):
            async with client() as http:
                if (await http.get(f"{url}/readyz", timeout=2)).status_code == 200:
                    outcome.recovered_seconds = time.monotonic() - begun
                    return
        await asyncio.sleep(0.2)
    outcome.promise(False, f"the balancer is not back after {RECOVERY_SECONDS:g} s")


async def update(outcome: Outcome, nodes: Nodes) -> None:
    """Deploy again, which replaces every replica: each finishes what it has."""
    before = {replica.pid for replica in nodes.replicas()}
    await asyncio.to_thread(nodes.deploy, min_replicas=2, max_replicas=2)
    await recovery(outcome, nodes, without=before)


async def scale(outcome: Outcome, nodes: Nodes) -> None:
    """Let the queued pixels make a second replica, and take it away when the load falls."""
    begun = time.monotonic()
    for wanted in (2, 1):
        while len(running := await asyncio.to_thread(nodes.replicas)) != wanted:
            if time.monotonic() - begun > RECOVERY_SECONDS:
                outcome.promise(False, f"{len(running)} replicas, not {wanted}, after {RECOVERY_SECONDS:g} s")
                return
            await asyncio.sleep(0.5)
        outcome.notes.append(f"{wanted} replicas after {time.monotonic() - begun:.0f} s of the load")


async def recovery(outcome: Outcome, nodes: Nodes, without: set[int]) -> None:
    """Wait until there are two replicas again, without those lost."""
    begun = time.monotonic()
    while time.monotonic() - begun < RECOVERY_SECONDS:
        running = {replica.pid for replica in await asyncio.to_thread(nodes.replicas)}
        if len(running - without) >= 2:
            outcome.recovered_seconds = time.monotonic() - begun
            return
        await asyncio.sleep(0.5)
    outcome.promise(False, f"not two replicas again after {RECOVERY_SECONDS:g} s")


FAULTS: dict[str, Callable[[Outcome, Nodes], Awaitable[None]]] = {
    "replica": kill_replica,
    "balancer": kill_balancer,
    "node": kill_node,
    "update": update,
    "scale": scale,
}
UNDISTURBED = {"update", "scale"}  # nothing is lost, so nobody needs to send anything again
SCALE = {"min_replicas": 1, "target_queued_pixels": 2_000_000, "upscale_delay_s": 1, "downscale_delay_s": 2}


async def trial(name: str, nodes: Nodes, rate: float, seconds: float) -> Outcome:
    """Load the cluster from before a fault to after it, and check every promise."""
    outcome = Outcome(name)
    clients = Clients(nodes, name, LARGER if name == "scale" else SMALL)
    schedule = arrivals(rate, seconds)
    await asyncio.to_thread(nodes.find_balancers)  # they follow the replicas
    if name == "scale":
        await asyncio.to_thread(nodes.deploy, max_replicas=2, **SCALE)
        schedule = chain(
            arrivals(2 * rate, seconds), (seconds + due for due in arrivals(rate / 8, 1.5 * seconds))
        )
    loading = asyncio.create_task(run(schedule, clients.compress))
    await asyncio.sleep(0 if name == "scale" else seconds / 4)
    await FAULTS[name](outcome, nodes)
    answers = await loading
    outcome.load = Summary.of(answers)
    outcome.repeated = dict(clients.repeated)
    outcome.acknowledged = len(clients.acknowledged)
    if name in UNDISTURBED:
        outcome.promise(not clients.repeated, "a replica that was asked to go cut connections")
    wrong = Counter(answer.status or answer.error for answer in answers) - Counter(
        answer.status for answer in answers if answer.status in {201, 429, 503}
    )
    outcome.promise(not wrong, f"answers that nobody expects: {dict(wrong)}")
    hurried = outcome.load.without_retry_after
    outcome.promise(not hurried, f"{hurried} refusals without Retry-After")
    try:
        await check_streams(outcome, clients.acknowledged, nodes)
    except FAILURES as error:
        outcome.promise(False, f"the streams could not be checked: {error!r}")
    return outcome


async def check_streams(outcome: Outcome, acknowledged: dict[str, bytes], nodes: Nodes) -> None:
    """Check that every stream is there, and that each replica decodes some to the same bytes."""
    await asyncio.to_thread(nodes.find_balancers)
    replicas = await asyncio.to_thread(nodes.replicas)
    url = next(iter(nodes.balancers.values()))
    lost = 0
    async with client() as http:
        for stream_id, stream in acknowledged.items():
            answer = await http.get(f"{url}/bitstreams/{stream_id}")
            lost += answer.status_code != 200 or answer.content != stream
        for stream_id in list(acknowledged)[-DECODED_STREAMS:]:
            digests = {await _decoded(http, replica, stream_id) for replica in replicas}
            outcome.promise(len(digests) == 1, f"replicas decode {stream_id[:8]} to different bytes")
    outcome.promise(bool(acknowledged), "something was acknowledged")
    outcome.promise(not lost, f"of {len(acknowledged)} acknowledged streams {lost} are lost or changed")


async def _decoded(http: httpx2.AsyncClient, replica: ReplicaFacts, stream_id: str) -> str:
    answer = await http.get(f"{replica.url}/decompress/{stream_id}?format=png")
    answer.raise_for_status()
    return hashlib.sha256(answer.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Bodies:
    """Memory under long bodies, in bytes.

    Attributes:
        balancer: "HAProxy" or "Python proxy".
        requests: sent.
        body_bytes: of each.
        concurrency: of them at a time.
        seconds: for all.
        statuses: number of answers by status.
        balancer_rss_before: of the balancer's processes, idle.
        balancer_rss_peak: of them, at its highest while the bodies passed.
        replica_rss_before: of the replica alone.
        replica_rss_peak: of it, likewise.
    """

    balancer: str
    requests: int
    body_bytes: int
    concurrency: int
    seconds: float
    statuses: dict[str, int]
    balancer_rss_before: int
    balancer_rss_peak: int
    replica_rss_before: int
    replica_rss_peak: int


async def bodies(nodes: Nodes, balancer: str, requests: int, size: int, concurrency: int) -> Bodies:
    """Send long bodies through one balancer; they are read whole, and are no pictures (415)."""
    node, url = next(iter(nodes.balancers.items()))
    balancing = nodes.balancer_processes(node)
    replicas = [psutil.Process(replica.pid) for replica in await asyncio.to_thread(nodes.replicas)]
    body = bytes(size)
    left = iter(range(requests))
    statuses: Counter[str] = Counter()
    before = _rss(balancing), max(map(_rss, ([replica] for replica in replicas)))
    peaks = list(before)

    async def send() -> None:
        async with client() as http:
            for _ in left:
                try:
                    answer = await http.post(f"{url}/compress?bpp=1", content=body)
                    statuses[str(answer.status_code)] += 1
                except FAILURES as error:
                    statuses[type(error).__name__] += 1

    begun = time.monotonic()
    sending = asyncio.gather(*(send() for _ in range(concurrency)))
    while not sending.done():
        peaks[0] = max(peaks[0], _rss(balancing))
        peaks[1] = max(peaks[1], *(_rss([replica]) for replica in replicas))
        await asyncio.sleep(0.05)
    await sending
    return Bodies(
        balancer,
        requests,
        size,
        concurrency,
        time.monotonic() - begun,
        dict(statuses),
        before[0],
        peaks[0],
        before[1],
        peaks[1],
    )


async def metrics(nodes: Nodes, folder: Path) -> dict[str, object]:
    """Have a real Prometheus find the replicas, and ask all that the dashboard asks.

    Returns:
        the replicas that it found, and the panels without data.
    """
    port = free_port()
    configuration = yaml.safe_load((DOCKER / "ray" / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    configuration["rule_files"] = [str(DOCKER / "prometheus" / "rules.yml")]
    (discovery,) = configuration["scrape_configs"][0]["http_sd_configs"]
    discovery["url"] = f"{next(iter(nodes.balancers.values()))}/metrics/replicas"
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    dashboard = json.loads((DOCKER / "grafana" / "provisioning" / "dashboards" / "ziggurat.json").read_text())
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        async with client() as http:

            async def ask(query: str) -> list[dict[str, Any]]:
                url = f"http://127.0.0.1:{port}/api/v1/query"
                answer = await http.get(url, params={"query": query.replace("$__rate_interval", "1m")})
                found: list[dict[str, Any]] = answer.json()["data"]["result"]
                return found

            await asyncio.sleep(3)
            await run(arrivals(3, 20), Clients(nodes, "metrics").compress)
            await asyncio.sleep(3)
            replicas = {series["metric"]["replica"] for series in await ask("ziggurat_build_info")}
            panels = {
                panel["title"]: [target["expr"] for target in panel["targets"]]
                for panel in dashboard["panels"]
                if "targets" in panel
            }
            empty = [
                title for title, queries in panels.items() if not any([await ask(query) for query in queries])
            ]
            rules = (await http.get(f"http://127.0.0.1:{port}/api/v1/rules")).json()["data"]["groups"]
            return {
                "replicas": len(replicas),
                "panels": len(panels),
                "panels_without_data": empty,
                "rules": len(rules[0]["rules"]),
                "rules_healthy": all(rule["health"] == "ok" for rule in rules[0]["rules"]),
            }
    finally:
        process.kill()
        process.wait()


def _rss(processes: Sequence[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total


def bodies_apart(arguments: argparse.Namespace, *options: str) -> Bodies:
    """Measure `bodies` in another process: Ray chooses its proxy when it starts."""
    with TemporaryDirectory() as folder:
        output = Path(folder) / "bodies.json"
        options += ("--bodies", str(arguments.bodies), "--concurrency", str(arguments.concurrency))
        command = [sys.executable, "-m", "benchmarks.cluster", "--only", "bodies", *options]
        subprocess.run([*command, "--output", str(output)], check=True)
        (measured,) = json.loads(output.read_text())["bodies"]
        return Bodies(**measured)


async def measure(
    arguments: argparse.Namespace,
) -> tuple[list[Outcome], list[Bodies], dict[str, object] | None]:
    """Run the trials, one after another, on one cluster."""
    outcomes = []
    measured = []
    watched = None
    with TemporaryDirectory(prefix="zgt-", dir=arguments.folder, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        alone = arguments.only == ["bodies"]
        settings = {} if alone else {"max_queued_requests": MAX_QUEUED_REQUESTS}
        prepare(folder, haproxy=not arguments.python_proxy, models="psnr", profile="psnr", **settings)
        with Nodes(folder, 3) as nodes:
            await asyncio.to_thread(nodes.deploy, min_replicas=2, max_replicas=2)
            if alone:
                balancer = "Python proxy" if arguments.python_proxy else "HAProxy"
                measured.append(
                    await bodies(nodes, balancer, arguments.bodies, 20_000_000, arguments.concurrency)
                )
                print(measured[-1], flush=True)
            if "metrics" in arguments.only:
                watched = await metrics(nodes, folder)
                print(watched, flush=True)
            for fault in (fault for fault in FAULTS if fault in arguments.only):
                outcomes.append(await trial(fault, nodes, arguments.rate, arguments.seconds))
                print(f"{fault}: {outcomes[-1].broken or 'kept'}", flush=True)
    return outcomes, measured, watched


def table(outcomes: Sequence[Outcome]) -> Table:
    """Lay out the trials for the terminal."""
    headings = ("fault", "answers", "sent again", "p50, max ms", "acknowledged", "recovered", "promises")
    shown = Table(*headings, box=box.SIMPLE)
    for outcome in outcomes:
        assert outcome.load is not None
        recovered = outcome.recovered_seconds
        shown.add_row(
            outcome.fault,
            " ".join(f"{status}: {number}" for status, number in outcome.load.statuses.items()),
            " ".join(f"{error}: {number}" for error, number in outcome.repeated.items()),
            f"{outcome.load.p50_ms:.0f}, {outcome.load.max_ms:.0f}",
            str(outcome.acknowledged),
            "" if recovered is None else f"{recovered:.0f} s",
            "; ".join(outcome.broken) or "kept",
        )
    return shown


def main() -> None:
    """Run, print, write; exit code 1 when a promise was broken."""
    options = parser(__doc__, "cluster.json")
    choices = ("bodies", "metrics", *FAULTS)
    options.add_argument("--only", nargs="+", choices=choices, default=list(choices))
    options.add_argument("--rate", type=float, default=3.0, help="compressions a second")
    options.add_argument(
        "--seconds", type=float, default=40.0, help="of load for each fault; it happens after a quarter"
    )
    options.add_argument("--bodies", type=int, default=500, help="long bodies to send")
    options.add_argument("--concurrency", type=int, default=16, help="of the long bodies")
    options.add_argument("--folder", type=Path, default=Path("/tmp"), help="for Ray, a short path")
    options.add_argument("--python-proxy", action="store_true", help="in place of HAProxy")
    arguments = options.parse_args()
    outcomes, measured, watched = asyncio.run(measure(arguments))
    if "bodies" in arguments.only and not measured:
        measured = [bodies_apart(arguments), bodies_apart(arguments, "--python-proxy")]
    console = Console(width=160)
    console.print(table(outcomes))
    for balancer in measured:
        console.print(balancer)
    facts = {
        "rate": arguments.rate,
        "seconds": arguments.seconds,
        "faults": [asdict(outcome) for outcome in outcomes],
        "bodies": [asdict(each) for each in measured],
        "metrics": watched,
    }
    write(arguments.output, facts)
    sys.exit(any(outcome.broken for outcome in outcomes))


if __name__ == "__main__":
    main()
