"""Attacks: what a few hostile bytes buy, and what others wait for meanwhile.

    python -m benchmarks.attacks [--checkout DIR] [--output attacks.json] [NAME ...]
    python -m benchmarks.attacks --table before.json after.json

Each attack has a real server of its own, of the checkout that is named, with the settings that a
server has by default. A bystander asks it for small things all the while, from a process of its
own. Measured are the bytes that were sent, the processor time and the memory that they bought
beyond what the bystander took, what the bystander waited for, and how long the server went on
working when the attacker was gone. Then some attacks are begun anew on another server, and SIGTERM
comes in the middle of them. Prints a table in Markdown and adds to the JSON; an attack that is
there already is replaced. `--list` lists the attacks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from benchmarks.attackers import ATTACKS, MB, Attack, Victim
from benchmarks.bystander import KINDS, Turn
from benchmarks.meter import Meter
from benchmarks.program import parser, write
from benchmarks.server import Server, serve_from

ROOT = Path(__file__).parents[1]

# The promise
MOST_WAIT_SECONDS = 2.0
MOST_MEMORY = 700 * MB  # bytes
MOST_MEMORY_LARGE = 2_500 * MB  # of the one large picture
MOST_OUTLIVING_SECONDS = 1.0

KILL_BYTES = 8_000 * MB  # of a server that would take the machine down with it
WARM_UP_SECONDS = 3.0
IDLE_SECONDS = 6.0  # in which the bystander is the only one
WINDOW_SECONDS = 1.0  # in which a server is working when it has more than `BUSY` of one core
BUSY = 0.3
MOST_AFTERMATH_SECONDS = 20.0
STOP_AFTER_SECONDS = 5.0  # of an attack comes SIGTERM
STOP_TIMEOUT_SECONDS = 10.0  # that a request may take on a server that is stopped
GRACE_SECONDS = STOP_TIMEOUT_SECONDS + 10.0  # in which it has to be gone


@dataclass(frozen=True, slots=True)
class Waits:
    """Results of a bystander's requests of one kind.

    Attributes:
        asked: number of them.
        worst: seconds of the one that waited longest, answered or not.
        refused: answers with 429 or 503.
        failed: all others that were not answered with 2xx.
    """

    asked: int
    worst: float
    refused: int
    failed: int

    @classmethod
    def of(cls, turns: Iterable[Turn]) -> Waits:
        """Count."""
        listed = list(turns)
        refused = sum(turn.status in {429, 503} for turn in listed)
        return cls(
            asked=len(listed),
            worst=round(max((turn.seconds for turn in listed), default=0.0), 2),
            refused=refused,
            failed=sum(not 200 <= turn.status < 300 for turn in listed) - refused,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one attack.

    Attributes:
        attack: its name.
        commit: of the checkout.
        seconds: that it lasted.
        cut_off: it lasted as long as it was let.
        sent: bytes.
        received: bytes.
        answers: number of its requests by status, or by what became of their connections.
        processor: seconds of processor time that it bought.
        memory: bytes of memory that it bought, at the worst moment.
        files: bytes of temporary files, at the worst moment.
        killed: the server's processes had more than `KILL_BYTES`.
        died: the server ended by itself.
        before: the bystander's waits before it, by kind.
        waits: those from its beginning on.
        outlived: seconds for which its work went on when it was answered, or had hung up.
        stopped: seconds from SIGTERM to the server's end, by itself or, beyond `GRACE_SECONDS`, as
            it was killed; None when not tried.
    """

    attack: str
    commit: str
    seconds: float
    cut_off: bool
    sent: int
    received: int
    answers: dict[str, int]
    processor: float
    memory: int
    files: int
    killed: bool
    died: bool
    before: dict[str, Waits]
    waits: dict[str, Waits]
    outlived: float
    stopped: float | None = None

    @classmethod
    def from_json(cls, facts: Mapping[str, object]) -> Outcome:
        """Read what `asdict` made."""
        fields: dict[str, object] = dict(facts)
        for name in ("before", "waits"):
            kinds = fields[name]
            assert isinstance(kinds, dict)
            fields[name] = {kind: Waits(**waits) for kind, waits in kinds.items()}
        return cls(**fields)  # type: ignore[arg-type]  # it is our own

    @property
    def worst(self) -> float:
        """Seconds that a bystander waited at most."""
        return max((waits.worst for waits in self.waits.values()), default=0.0)

    @property
    def turned_away(self) -> int:
        """Number of a bystander's requests that were refused or failed."""
        return sum(waits.refused + waits.failed for waits in self.waits.values())

    def broken(self, attack: Attack) -> list[str]:
        """List the promises that were not kept, in words."""
        most = MOST_MEMORY_LARGE if attack.large else MOST_MEMORY
        bought = self.memory + self.files
        found = []
        if self.worst >= MOST_WAIT_SECONDS:
            found.append(f"others waited {self.worst:.1f} s")
        if self.turned_away:
            found.append(f"{self.turned_away} of others turned away")
        if bought >= most:
            found.append(f"{bought / MB:.0f} MB")
        if self.outlived > MOST_OUTLIVING_SECONDS:
            found.append(f"{self.outlived:.0f} s of work after its end")
        if self.stopped is not None and self.stopped > GRACE_SECONDS:
            found.append("SIGTERM without effect")
        if "500" in self.answers:
            found.append("a 500")
        if self.killed:
            found.append(f"over {KILL_BYTES / MB:.0f} MB, killed")
        if self.died:
            found.append("the server died")
        return found


@dataclass
class Witness:
    """A bystander's process, and what it tells, each with the time that it was told.

    Attributes:
        told: turns by when they ended, of `time.monotonic`.
    """

    server: Server
    told: list[tuple[float, Turn]] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None
    _reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.bystander", self.server.host, str(self.server.port)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.told.append((time.monotonic(), Turn(**json.loads(line))))

    async def stop(self) -> None:
        """Let it ask no more, and hear what it has still to tell."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reading is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._reading, 30)
        except TimeoutError:
            self._process.kill()
        await self._process.wait()

    def served(self, begun: float, ended: float) -> int:
        """Count the turns in a span of time that cost the server something."""
        return sum(
            begun <= when < ended and turn.kind != "livez" and 200 <= turn.status < 300
            for when, turn in self.told
        )

    def waits(self, begun: float, ended: float) -> dict[str, Waits]:
        """Count what ended in a span of time."""
        turns = [turn for when, turn in self.told if begun <= when < ended]
        return {kind: Waits.of(turn for turn in turns if turn.kind == kind) for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Plan:
    """How attacks are measured.

    Attributes:
        checkout: that is served.
        limit: seconds after which an attack is cut off.
        hold: seconds for which an attack holds connections.
        logs: where the servers' logs go, a folder.
    """

    checkout: Path
    limit: float
    hold: float
    logs: Path

    @property
    def commit(self) -> str:
        """Commit that is checked out; "unknown" outside of a repository."""
        command = ["git", "-C", str(self.checkout), "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"

    def server(self, name: str, folder: Path, **settings: object) -> Server:
        """Make a server whose store and temporary files are in `folder`."""
        command = ["env", f"TMPDIR={_made(folder / 'tmp')}", *serve_from(self.checkout)]
        if limit := ATTACKS[name].descriptors:
            command = ["sh", "-c", f'ulimit -S -n {limit}; exec "$@"', "sh", *command]
        log = self.logs / f"attack-{name}.log"
        return Server(log, command=command, store=_made(folder / "store"), **settings)


async def measure(name: str, plan: Plan) -> Outcome:
    """Attack a server, and then another one that is told to end meanwhile."""
    with TemporaryDirectory(prefix=f"ziggurat-{name}-") as folder:
        outcome = await _attacked(name, plan, Path(folder))
    if not ATTACKS[name].stop:
        return outcome
    with TemporaryDirectory(prefix=f"ziggurat-{name}-") as folder:
        return replace(outcome, stopped=await _stopped(name, plan, Path(folder)))


async def _sent(attack: Attack, victim: Victim) -> None:
    """Attack; a server that does not listen any more is an answer too."""
    try:
        await attack.run(victim)
    except OSError:
        victim.answers["no connection"] += 1


async def _attacked(name: str, plan: Plan, folder: Path) -> Outcome:
    attack = ATTACKS[name]
    killed = asyncio.Event()
    async with plan.server(name, folder) as server:

        def kill() -> None:
            loop.call_soon_threadsafe(killed.set)
            server.kill()

        loop = asyncio.get_running_loop()
        witness = Witness(server)
        victim = Victim(server.host, server.port, folder / "store", plan.hold)
        with Meter(server.process.pid, folder / "tmp", KILL_BYTES, kill) as meter:
            await witness.start()
            while not witness.told:
                await asyncio.sleep(0.1)
            await asyncio.sleep(WARM_UP_SECONDS)
            quiet = time.monotonic()
            await asyncio.sleep(IDLE_SECONDS)
            begun = time.monotonic()
            cut_off = False
            running = asyncio.create_task(_sent(attack, victim))
            dying = asyncio.create_task(killed.wait())
            try:
                await asyncio.wait({running, dying}, timeout=plan.limit, return_when=asyncio.FIRST_COMPLETED)
                cut_off = not running.done()
            finally:
                running.cancel()
                dying.cancel()
                with suppress(asyncio.CancelledError):
                    await running
            victim.close()
            ended = time.monotonic()
            account = _Account(meter, witness, quiet, begun)
            while (now := time.monotonic()) < ended + MOST_AFTERMATH_SECONDS and not killed.is_set():
                await asyncio.sleep(0.2)
                if now > ended + WINDOW_SECONDS and account.quiet_since(now - WINDOW_SECONDS):
                    break
            over = max(0.0, time.monotonic() - ended - WINDOW_SECONDS)
            over_at = time.monotonic()
            died = server.process.poll() is not None and not killed.is_set()
            await witness.stop()
        server.kill()
    idle = meter.at(begun)
    readings = meter.since(begun)
    return Outcome(
        attack=name,
        commit=plan.commit,
        seconds=round(ended - begun, 1),
        cut_off=cut_off and not killed.is_set(),
        sent=victim.sent,
        received=victim.received,
        answers=dict(victim.answers),
        processor=round(account.bought(begun, over_at), 1),
        memory=max(0, max(reading.memory for reading in readings) - idle.memory),
        files=max(reading.files for reading in readings),
        killed=killed.is_set(),
        died=died,
        before=witness.waits(quiet, begun),
        waits=witness.waits(begun, time.monotonic()),
        outlived=round(over, 1),
    )


@dataclass(frozen=True, slots=True)
class _Account:
    """Processor time, apart from the bystander's share: so much for each thing that it was given.

    `quiet` to `begun` is the time that the share is known from.
    """

    meter: Meter
    witness: Witness
    quiet: float
    begun: float

    def bought(self, begun: float, ended: float) -> float:
        """Seconds of processor time that an attack bought in a span of time."""
        served = self.witness.served(self.quiet, self.begun)
        each = self._taken(self.quiet, self.begun) / max(1, served)
        return max(0.0, self._taken(begun, ended) - each * self.witness.served(begun, ended))

    def quiet_since(self, begun: float) -> bool:
        """Say whether nothing but the bystander has kept the server busy."""
        now = time.monotonic()
        return self.bought(begun, now) < BUSY * (now - begun)

    def _taken(self, begun: float, ended: float) -> float:
        return self.meter.at(ended).processor - self.meter.at(begun).processor


async def _stopped(name: str, plan: Plan, folder: Path) -> float:
    """Seconds from SIGTERM, in the middle of an attack, to the server's end."""
    settings = {"request_timeout_seconds": STOP_TIMEOUT_SECONDS}
    async with plan.server(name, folder, **settings) as server:
        victim = Victim(server.host, server.port, folder / "store", plan.hold)
        with Meter(server.process.pid, folder / "tmp", KILL_BYTES, server.kill):
            running = asyncio.create_task(_sent(ATTACKS[name], victim))
            await asyncio.sleep(STOP_AFTER_SECONDS)
            told = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(server.process.wait, GRACE_SECONDS + 2)
                seconds = round(time.monotonic() - told, 1)
            except subprocess.TimeoutExpired:
                seconds = GRACE_SECONDS + 2
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            victim.close()
        server.kill()
    return seconds


def table(runs: Sequence[Mapping[str, Outcome]]) -> str:
    """Lay out one run, or several side by side, in Markdown. The verdicts are on the last."""
    headings = (
        "attack",
        "sent",
        "answered",
        "processor",
        "memory",
        "others waited",
        "turned away",
        "work after",
        "SIGTERM",
        "promise",
    )
    lines = [f"| {' | '.join(headings)} |", "|---|---:|---|" + "---:|" * 6 + "---|"]
    for name, attack in ATTACKS.items():
        outcomes = [run[name] for run in runs if name in run]
        if not outcomes:
            continue
        columns = zip(*(_cells(outcome) for outcome in outcomes), strict=True)
        shown = [column[0] if len(set(column)) == 1 else " → ".join(column) for column in columns]
        verdict = "; ".join(outcomes[-1].broken(attack)) or "kept"
        lines.append(f"| {' | '.join((f'{attack.sends} (`{name}`)', *shown, verdict))} |")
    return "\n".join(lines)


def _cells(outcome: Outcome) -> tuple[str, ...]:
    stopped = "" if outcome.stopped is None else f"{outcome.stopped:.0f} s"
    if outcome.stopped is not None and outcome.stopped > GRACE_SECONDS:
        stopped = f"over {GRACE_SECONDS:.0f} s"
    outlived = (
        "over " * (outcome.outlived > MOST_AFTERMATH_SECONDS - 2 * WINDOW_SECONDS)
        + f"{outcome.outlived:.0f} s"
    )
    return (
        _size(outcome.sent),
        ", ".join(f"{what} x {count}" for what, count in outcome.answers.items()) or "none",
        f"{'over ' * outcome.cut_off}{outcome.processor:.0f} s",
        "over " * outcome.killed + f"{(outcome.memory + outcome.files) / MB:.0f} MB",
        f"{outcome.worst:.1f} s",
        str(outcome.turned_away),
        outlived,
        stopped,
    )


def _size(count: int) -> str:
    for unit, size in (("MB", MB), ("kB", 1000)):
        if count >= size:
            return f"{count / size:.{0 if count >= 10 * size else 1}f} {unit}"
    return f"{count} B"


def load(path: Path) -> dict[str, Outcome]:
    """Read a run's outcomes by the names of their attacks."""
    listed = json.loads(path.read_text())["attacks"]
    return {facts["attack"]: Outcome.from_json(facts) for facts in listed}


def main() -> None:
    """Attack, print, write; exit code 1 when a promise was not kept."""
    options = parser(__doc__, "attacks.json")
    options.add_argument("names", nargs="*", metavar="NAME", help="of attacks; all, if none is named")
    options.add_argument("--checkout", type=Path, default=ROOT, help="that is served; else this one")
    options.add_argument("--limit", type=float, default=120.0, help="seconds after which one is cut off")
    options.add_argument(
        "--hold", type=float, default=40.0, help="seconds for which connections that do nothing are held"
    )
    options.add_argument("--logs", type=Path, default=Path(gettempdir()), help="folder of the servers' logs")
    options.add_argument("--list", action="store_true", help="list the attacks and do nothing")
    options.add_argument(
        "--table", type=Path, nargs="+", metavar="JSON", help="lay out earlier runs and do nothing"
    )
    arguments = options.parse_args()
    if arguments.list:
        for name, attack in ATTACKS.items():
            print(f"{name:22} {attack.sends}")
        return
    if arguments.table:
        print(table([load(path) for path in arguments.table]))
        return
    if unknown := set(arguments.names) - set(ATTACKS):
        options.error(f"no such attack: {', '.join(sorted(unknown))}; --list lists them")
    sys.exit(not _run(arguments))


def _run(arguments: argparse.Namespace) -> bool:
    plan = Plan(arguments.checkout.resolve(), arguments.limit, arguments.hold, arguments.logs)
    earlier = load(arguments.output) if arguments.output.exists() else {}
    made: dict[str, Outcome] = {}
    for name in arguments.names or ATTACKS:
        made[name] = asyncio.run(measure(name, plan))
        print(f"{name}: {'; '.join(made[name].broken(ATTACKS[name])) or 'kept'}", flush=True)
        both = earlier | made  # written each time: a long run that is broken off is not lost
        listed = [asdict(both[known]) for known in ATTACKS if known in both]
        write(arguments.output, {"limit": plan.limit, "hold": plan.hold, "attacks": listed})
    print(table([made]))
    return not any(outcome.broken(ATTACKS[name]) for name, outcome in made.items())


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
