"""What is asked for of every picture, and with what means: all that actors need to know."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from models import Target
from models.codec import CodecName
from models.metadata import Keep
from models.rate_control import MEMBER_TOLERANCE

_GPU_PICTURES = 24  # at work at the same time on a GPU: some in its batch, some read and decoded
_BLOCK = 64  # pictures; its attempts cost two small writes


@dataclass(frozen=True, slots=True)
class Share:
    """How a cluster is shared out.

    Attributes:
        actors: that run at the same time.
        cores: of each.
        gpus: of each.
    """

    actors: int
    cores: int
    gpus: int

    @property
    def at_once(self) -> int:
        """Pictures at work in an actor: enough that nothing of it waits."""
        return _GPU_PICTURES if self.gpus else self.cores + 2

    def block(self, pictures: int) -> int:
        """Pictures in a block: few enough that all actors end at about the same time."""
        return min(max(1, pictures // (4 * self.actors * self.at_once)), _BLOCK)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What every picture is asked for.

    Attributes:
        target: of each picture; None when all have one budget, of which each has its share.
        profile: name of the model.
        model_id: 8 hex digits.
        codec: what compresses.
        effort: 0 to 9.
        strict: keep no stream over its budget, or short of its minima.
        metadata: what to keep of the files'.
    """

    target: Target | None
    profile: str
    model_id: str
    codec: CodecName = "learned"
    effort: int = 0
    strict: bool = False
    metadata: Keep = "none"

    def target_of(self, max_bytes: int | None) -> Target:
        """The target of a picture, whose share of one budget this is."""
        return self.target or Target(max_bytes=max_bytes, tolerance=MEMBER_TOLERANCE)

    @property
    def settings(self) -> str:
        """All that a stream depends on, besides its file and its share of one budget, in JSON."""
        asked = {name: value for name, value in asdict(self).items() if name != "target"}
        target = {} if self.target is None else asdict(self.target)
        return json.dumps(asked | {name: value for name, value in target.items() if value is not None})

    @property
    def measure_settings(self) -> str:
        """All that measurements depend on, besides their file, in JSON."""
        return json.dumps({"model_id": self.model_id, "metadata": self.metadata, "measure": 1})


@dataclass(frozen=True, slots=True)
class Means:
    """What one actor has.

    Attributes:
        device: "cpu" or "cuda".
        cores: of the processor.
        at_once: pictures at work at the same time.
        max_pixels: of the largest picture that is decoded.
        max_file_bytes: of the largest file that is read.
    """

    device: str
    cores: int
    at_once: int
    max_pixels: int
    max_file_bytes: int


@dataclass(frozen=True, slots=True)
class Work:
    """The work of a pool of actors.

    Attributes:
        wishes: for every picture.
        means: of each actor.
        output: folder or address of a bucket.
        measures: measure pictures along the gain axis, for one budget, and compress none.
    """

    wishes: Wishes
    means: Means
    output: str
    measures: bool = False

    @property
    def settings(self) -> str:
        """All that the results depend on, in JSON."""
        return self.wishes.measure_settings if self.measures else self.wishes.settings
