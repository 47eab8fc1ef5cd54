"""Simulation of a cluster, request by request: balancers, replicas, their batches, the store.

    clients --> balancers --> replica: loop --> readers --> queue --> lanes --> coders --> store
                                   \\-- 429 when there is no room

A discrete-event simulation on a heap. Stations that serve first come, first served and know how
long they need when a request arrives (the event loop, processes that read pictures or code symbols)
need no events of their own: a request leaves at the earliest time that a server is free, plus its
service. Queue and lanes do, as who shares a batch depends on who waits when a lane becomes free:
the oldest heads it, those of its shape join it up to the pixel budget, and there is no timer
(`service/engine/queue.py`). A picture of more than 4 megapixels goes in slices of one,
and between two of them its lane runs one batch of smaller pictures.

Times are in seconds, pixels in megapixels (MP), everything random comes from one seed.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

Policy = Literal["least", "two choices", "round robin", "random"]
Array = npt.NDArray[np.float64]

LARGE_MP = 4.194304  # pictures beyond it are cut into tiles, and share no batch
SLICE_MP = 1.0
_ARRIVES, _READY, _FREE, _DONE = range(4)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of replica: one process of the service, and what it needs for its work.

    Attributes:
        lanes: batches at a time.
        batch: seconds of a lane for each batch.
        request: seconds of a lane for each picture.
        pixels: seconds of a lane for each megapixel.
        large_pixels: the same, of pictures of more than 4 megapixels.
        batch_mp: megapixels of a batch; a larger picture goes alone.
        loop: seconds of the event loop for each request.
        loop_mb: the same for each megabyte of its body.
        readers: processes that read pictures; 0 where `request` and `pixels` have that in them.
        read_mp: seconds of one for each megapixel.
        coders: processes that code symbols; 0 likewise.
        code_mp: seconds of one for each megapixel.
        room_mp: megapixels that may be inside, for small and for large pictures each.
        room_requests: requests that may be inside.
    """

    lanes: int = 1
    batch: float = 0.0
    request: float = 0.0
    pixels: float = 0.0
    large_pixels: float = 0.0
    batch_mp: float = 0.0
    loop: float = 0.0
    loop_mb: float = 0.0
    readers: int = 0
    read_mp: float = 0.0
    coders: int = 0
    code_mp: float = 0.0
    room_mp: float = np.inf
    room_requests: float = np.inf

    def lane_seconds(self, mp: float) -> float:
        """Find how long a lane needs for a picture that is alone."""
        return self.batch + self.request + mp * (self.pixels if mp <= LARGE_MP else self.large_pixels)


@dataclass(frozen=True, slots=True)
class Store:
    """A bucket: a lognormal time to put a stream; requests that are over the limit wait for it.

    Attributes:
        median: seconds.
        p99: seconds.
        puts: a second that it takes of all replicas together.
    """

    median: float = 0.0
    p99: float = 0.0
    puts: float = np.inf

    def seconds(self, count: int, random: np.random.Generator) -> Array:
        """Draw so many times."""
        if not self.median:
            return np.zeros(count)
        spread = np.log(self.p99 / self.median) / 2.326
        return random.lognormal(np.log(self.median), spread, count)


@dataclass(frozen=True, slots=True)
class Pictures:
    """Requests in order of arrival.

    Attributes:
        at: seconds.
        mp: megapixels of each.
        shape: number of its padded size: those of one number may share a batch.
        mb: megabytes of each body.
    """

    at: Array
    mp: Array
    shape: npt.NDArray[np.int64]
    mb: Array


@dataclass(frozen=True, slots=True)
class Sizes:
    """A mixture of picture sizes.

    Attributes:
        classes: for each its share, megapixels, bits a pixel, and number of padded sizes.
    """

    classes: Sequence[tuple[float, float, float, int]]

    @property
    def mean_mp(self) -> float:
        """Megapixels of a picture, in the mean."""
        return sum(share * mp for share, mp, _, _ in self.classes) / sum(each[0] for each in self.classes)

    @property
    def mean_mb(self) -> float:
        """Megabytes of a body, in the mean."""
        total = sum(share * mp * bpp / 8 for share, mp, bpp, _ in self.classes)
        return total / sum(each[0] for each in self.classes)

    def draw(self, at: Array, random: np.random.Generator) -> Pictures:
        """Draw a picture for each arrival."""
        share, mp, bpp, shapes = (np.array(column, float) for column in zip(*self.classes, strict=True))
        chosen = random.choice(len(share), len(at), p=share / share.sum())
        shape = chosen * 1000 + np.floor(random.random(len(at)) * shapes[chosen]).astype(np.int64)
        return Pictures(at, mp[chosen], shape, mp[chosen] * bpp[chosen] / 8)


def poisson(rates: Sequence[tuple[float, float]], random: np.random.Generator) -> Array:
    """Draw Poisson arrivals: for so many seconds at such a rate, one after the other."""
    begin = 0.0
    pieces = []
    for seconds, rate in rates:
        count = random.poisson(seconds * rate)
        pieces.append(begin + np.sort(random.random(count)) * seconds)
        begin += seconds
    return np.concatenate(pieces)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the requests, in order of arrival.

    Attributes:
        at: when each arrived.
        seconds: latency; NaN where it was refused.
        batches: that lanes ran.
        busy: share of the lanes' time that they worked, until the last request arrived.
    """

    at: Array
    seconds: Array
    batches: int
    busy: float

    def between(self, begin: float, end: float = np.inf) -> Outcome:
        """Keep the requests that arrived then."""
        kept = (self.at >= begin) & (self.at < end)
        return replace(self, at=self.at[kept], seconds=self.seconds[kept])

    @property
    def refused(self) -> float:
        """Share of the requests that got 429."""
        return float(np.isnan(self.seconds).mean()) if len(self.seconds) else 0.0

    def percentile(self, percent: float) -> float:
        """Latency in seconds of those that were answered."""
        return float(np.nanpercentile(self.seconds, percent))


@dataclass(slots=True)
class _Run:
    """What a lane runs: a batch, or a slice of a large picture; or a batch between two slices.

    Attributes:
        batch: of which the answers are due when it ends.
        large: picture that goes on then, and the megapixels of it that are left.
    """

    batch: list[int]
    large: tuple[int, float] | None = None


@dataclass(slots=True, eq=False)
class _Replica:
    """The state of one replica."""

    queue: dict[int, None] = field(default_factory=dict)  # waiting for a lane, oldest first
    small: dict[int, None] = field(default_factory=dict)  # of these, what goes between slices
    by_shape: dict[int, deque[int]] = field(default_factory=dict)
    free: int = 0  # lanes
    loop_free: float = 0.0  # when
    readers: list[float] = field(default_factory=list)  # when each is free, a heap
    coders: list[float] = field(default_factory=list)
    inside: int = 0
    room: list[float] = field(default_factory=lambda: [0.0, 0.0])  # taken: small, large


class _Balancer:
    """Chooses replicas by what it sent and what came back: it does not see others' requests."""

    def __init__(self, policy: Policy, replicas: int, random: np.random.Generator) -> None:
        self._policy = policy
        self._replicas = replicas
        self._random = random
        # Open requests in the upper digits, turn of the last in the lower: of equals the one that
        # waited longest is next, as HAProxy does it.
        self._keys = random.permutation(replicas).astype(np.int64)
        self._turn = replicas

    def choose(self) -> int:
        """Choose a replica for a request."""
        if self._policy == "round robin":
            self._turn += 1
            return self._turn % self._replicas
        if self._policy == "random":
            return int(self._random.integers(self._replicas))
        if self._policy == "two choices":
            one, other = self._random.integers(self._replicas, size=2)
            chosen = int(one if self._keys[one] <= self._keys[other] else other)
        else:
            chosen = int(self._keys.argmin())
        self._turn += 1
        self._keys[chosen] += 1 << 40
        self._keys[chosen] = (self._keys[chosen] >> 40 << 40) | self._turn
        return chosen

    def done(self, replica: int) -> None:
        """Take note of an answer."""
        if self._policy in {"least", "two choices"}:
            self._keys[replica] -= 1 << 40


def simulate(
    kind: Kind,
    replicas: int,
    pictures: Pictures,
    *,
    policy: Policy = "least",
    balancers: int = 1,
    store: Store | None = None,
    seed: int = 0,
) -> Outcome:
    """Run requests through a cluster until the last is answered.

    Args:
        kind: of every replica.
        replicas: number of them.
        pictures: the requests.
        policy: by which a balancer chooses a replica.
        balancers: number of them; each request comes to any.
        store: that streams are put into.
        seed: of everything random.
    """
    random = np.random.default_rng(seed)
    store = store or Store()
    count = len(pictures.at)
    at, mp, shape, mb = (
        column.tolist() for column in (pictures.at, pictures.mp, pictures.shape, pictures.mb)
    )
    put_seconds = store.seconds(count, random).tolist()
    via = random.integers(balancers, size=count).tolist()
    front = [_Balancer(policy, replicas, random) for _ in range(balancers)]
    cluster = [
        _Replica(free=kind.lanes, readers=[0.0] * kind.readers, coders=[0.0] * kind.coders)
        for _ in range(replicas)
    ]
    seconds = np.full(count, np.nan)
    where = [0] * count
    busy, batches, store_free = 0.0, 0, 0.0
    end = at[-1] if count else 0.0
    # (time, what, request or batch, replica); arrivals come from their own sorted list.
    events: list[tuple[float, int, int, int]] = []
    running: dict[int, _Run] = {}

    def run(
        replica: _Replica, number: int, now: float, head: int | None, large: tuple[int, float] | None
    ) -> None:
        """Have a lane run the batch of a picture, or else a slice of a large one."""
        nonlocal busy, batches
        work = kind.batch
        batch: list[int] = []
        if head is not None and mp[head] > LARGE_MP:
            del replica.queue[head]
            large = (head, mp[head])
        elif head is not None:
            taken, same = 0.0, replica.by_shape[shape[head]]
            while same and (not batch or taken + mp[same[0]] <= kind.batch_mp):
                job = same.popleft()
                del replica.queue[job], replica.small[job]
                batch.append(job)
                taken += mp[job]
                work += kind.request + mp[job] * kind.pixels
        if large is not None and not batch:
            job, left = large
            part = min(left, SLICE_MP)
            work += part * kind.large_pixels + (kind.request if left == part else 0.0)
            batch, large = ([job], None) if left == part else ([], (job, left - part))
        busy += max(0.0, min(now + work, end) - now)
        batches += 1
        running[batches] = _Run(batch, large)
        heapq.heappush(events, (now + work, _FREE, batches, number))

    def answer(replica: _Replica, number: int, now: float, job: int) -> None:
        """Code a picture's symbols and store its stream."""
        nonlocal store_free
        done = now
        if kind.coders:
            done = max(done, replica.coders[0]) + kind.code_mp * mp[job]
            heapq.heapreplace(replica.coders, done)
        store_free = max(now, store_free) + 1 / store.puts
        heapq.heappush(events, (max(done, store_free) + put_seconds[job], _DONE, job, number))

    request = 0
    while events or request < count:
        if request < count and (not events or at[request] <= events[0][0]):
            now, what, item = at[request], _ARRIVES, request
            request += 1
            where[item] = number = front[via[item]].choose()
        else:
            now, what, item, number = heapq.heappop(events)
        replica = cluster[number]
        if what == _ARRIVES:
            size = int(mp[item] > LARGE_MP)
            taken = replica.room[size]
            if replica.inside >= kind.room_requests or (taken and taken + mp[item] > kind.room_mp):
                front[via[item]].done(number)
                continue
            replica.inside += 1
            replica.room[size] += mp[item]
            ready = replica.loop_free = max(now, replica.loop_free) + kind.loop + kind.loop_mb * mb[item]
            if kind.readers:
                ready = max(ready, replica.readers[0]) + kind.read_mp * mp[item]
                heapq.heapreplace(replica.readers, ready)
            heapq.heappush(events, (ready, _READY, item, number))
        elif what == _READY:
            replica.queue[item] = None
            if mp[item] <= LARGE_MP:
                replica.small[item] = None
                replica.by_shape.setdefault(shape[item], deque()).append(item)
            if replica.free:
                replica.free -= 1
                run(replica, number, now, item, None)
        elif what == _FREE:
            ended = running.pop(item)
            for job in ended.batch:
                answer(replica, number, now, job)
            if ended.large and (ended.batch or not replica.small):
                run(replica, number, now, None, ended.large)
            elif ended.large:
                run(replica, number, now, next(iter(replica.small)), ended.large)
            elif replica.queue:
                run(replica, number, now, next(iter(replica.queue)), None)
            else:
                replica.free += 1
        else:
            replica.inside -= 1
            size = int(mp[item] > LARGE_MP)
            replica.room[size] = replica.room[size] - mp[item] if replica.inside else 0.0
            front[via[item]].done(number)
            seconds[item] = now - at[item]
    return Outcome(pictures.at, seconds, batches, busy / (end * kind.lanes * replicas) if end else 0.0)
