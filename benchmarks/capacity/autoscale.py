"""Autoscaling over a day, second by second: work flows in, replicas come late, what waits is kept.

Single requests do not matter to an autoscaler, which looks at sums every 10 to 15 seconds. So this
is a fluid model: megapixels flow into a cluster, out of it at what the replicas that are ready can
do, and wait in between, up to the room that admission gives them. Variation within a second is left
to `simulation`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Scaler:
    """The rule by which replicas come and go.

    Attributes:
        name: for tables.
        target: share of a replica's work that is meant to be inside it.
        sees_queue: the metric is `ziggurat_queue_pixels`, which has what waits in it; else it is
            the use of the processor, which ends at 1.
        period: seconds between decisions.
        window: seconds that the metric is a mean over.
        up_after: seconds for which more must be wanted.
        down_after: seconds for which fewer must be wanted.
        growth: the number of replicas may be multiplied by this in a period, or grow by four.
        tolerance: a ratio of metric to target so near to 1 changes nothing.
        start: seconds until a new replica is ready.
        least: replicas.
        most: replicas.
    """

    name: str
    target: float
    sees_queue: bool = True
    period: float = 15.0
    window: float = 15.0
    up_after: float = 0.0
    down_after: float = 300.0
    growth: float = 2.0
    tolerance: float = 0.1
    start: float = 135.0
    least: int = 2
    most: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Day:
    """What a day was like.

    Attributes:
        replicas: paid for, in each second.
        waited: seconds that work stood in the queue, in each second.
        refused: share of the work that got 429.
    """

    replicas: Array
    waited: Array
    refused: float

    @property
    def replica_hours(self) -> float:
        """Replicas paid for times hours."""
        return float(self.replicas.sum() / 3600)


def curve(mean: float, seed: int = 0, bursts: int = 6, factor: float = 2.0, seconds: int = 300) -> Array:
    """Make a day's load, a second a number: a sine from 0.4 to 1.6 times the mean, its lowest at
    four, and some bursts at random.
    """
    hours = np.arange(DAY) / 3600
    load = mean * (1 - 0.6 * np.cos(2 * np.pi * (hours - 4) / 24))
    for begin in np.random.default_rng(seed).integers(0, DAY - seconds, bursts):
        load[begin : begin + seconds] *= factor
    return load


def run(load: Array, scaler: Scaler, replica: float, room: float, seconds: float) -> Day:
    """Let a scaler follow a load.

    Args:
        load: megapixels that arrive in each second.
        scaler: the rule.
        replica: megapixels a second that one does.
        room: megapixels that may wait in one.
        seconds: that a request is inside a replica when nothing waits.
    """
    ready = max(scaler.least, math.ceil(load[0] / replica / scaler.target))
    coming: deque[tuple[float, int]] = deque()
    seen: deque[float] = deque(maxlen=max(1, round(scaler.window)))
    wanted_low: deque[tuple[float, int]] = deque()  # what was wanted since down_after
    up_since: float | None = None
    waiting, refused = 0.0, 0.0
    replicas, waited = np.zeros(len(load)), np.zeros(len(load))
    for now, arriving in enumerate(load.tolist()):
        while coming and coming[0][0] <= now:
            ready += coming.popleft()[1]
        able = ready * replica
        done = min(waiting + arriving, able)
        waiting += arriving - done
        over = max(0.0, waiting - ready * room)
        refused += over
        waiting -= over
        inside = done / able + (waiting / (able * seconds) if scaler.sees_queue else 0.0)
        seen.append(inside)
        total = ready + sum(count for _, count in coming)
        replicas[now], waited[now] = total, waiting / able
        if now % scaler.period:
            continue
        ratio = sum(seen) / len(seen) / scaler.target
        wanted = total
        if abs(ratio - 1) > scaler.tolerance:
            # Replicas that are not ready count as if they were idle on the way up, as HPA has it.
            wanted = math.ceil(ready * ratio)
            wanted = total if ready < wanted < total else wanted
        growth = max(math.floor(total * scaler.growth), total + 4)
        wanted = max(scaler.least, min(wanted, growth, scaler.most))
        wanted_low.append((now, wanted))
        while wanted_low[0][0] < now - scaler.down_after:
            wanted_low.popleft()
        up_since = (now if up_since is None else up_since) if wanted > total else None
        if up_since is not None and now - up_since >= scaler.up_after:
            coming.append((now + scaler.start, wanted - total))
            up_since = None
        elif wanted < total:
            keep = max(count for _, count in wanted_low)
            gone = max(0, total - keep)
            while gone and coming:  # those that have not begun yet go first
                begun, count = coming.pop()
                if count > gone:
                    coming.append((begun, count - gone))
                gone = max(0, gone - count)
            ready -= gone
    return Day(replicas, waited, refused / float(load.sum()))
