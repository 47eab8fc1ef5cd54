"""Our own codec over a picture, and what was measured of it before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from models.evaluation.judges import Judge
from models.evaluation.points import AnchorPoints, Point, fingerprint, measure
from models.evaluation.report import HEADLINE, ImageSweep, TargetPoint, rounded
from models.files import write_atomically
from models.learned.codec import LearnedCodec
from models.picture import Picture
from models.postprocess import model as post_model
from models.rate_control import Target
from models.stream import Stream
from models.weights import registry

# Settings of our curves; the last is for smooth pictures.
QUALITIES = tuple(10.0 * step for step in range(11))
JUDGED = QUALITIES[1:]  # at which judges are asked; the first has too few bits to be compared


def own_name(codec: LearnedCodec, effort: int) -> str:
    """Name a profile of ours for tables and plots."""
    return f"ziggurat-{codec.name}" + (f"-effort-{effort}" if effort else "")


def sweep_codec(
    codec: LearnedCodec,
    picture: Picture,
    rates: Sequence[float],
    *,
    effort: int = 0,
    judges: Sequence[Judge] = (),
    known: ImageSweep | None = None,
    device: str = "cpu",
) -> ImageSweep:
    """Measure our codec over its quality axis and at exact rates.

    It makes one stream at a time: a batch would save nothing but cost memory.

    Args:
        codec: what is measured.
        picture: what it compresses.
        rates: bits per pixel.
        effort: of the encoder, 0 to 9.
        judges: are asked at the `JUDGED` settings.
        known: a sweep from before, by the same model, whose scores are not taken again.
        device: computes the metrics.
    """
    scored = {point.size: point.scores for point in known.points} if known else {}

    def encoded(target: Target, judges: Sequence[Judge]) -> tuple[Stream, Point]:
        (stream,) = codec.encode([picture], [target], effort=effort)
        (decoded,) = codec.decode([stream.data])
        point = measure(
            picture,
            decoded,
            setting=stream.quality,
            size=len(stream.data),
            device=device,
            judges=judges,
            known=scored.get(len(stream.data)),
        )
        return stream, point

    points = tuple(
        encoded(Target(quality=quality), judges if quality in JUDGED else ())[1] for quality in QUALITIES
    )
    exact = []
    for bpp in rates:
        stream, point = encoded(Target(bpp=bpp), ())
        exact.append(TargetPoint(bpp, point, stream.target_met, stream.probes))
    return ImageSweep(points, tuple(exact))


class OwnSweeps:
    """Measured sweeps of ours, kept in a JSON file.

    A sweep is filed under the pixels' hash, the model, its post-processor and the effort. Those of
    models that are gone are dropped.

    Args:
        path: the file, created by `save`.
        judges: that sweeps need the scores of.
    """

    def __init__(self, path: Path, judges: Sequence[Judge] = ()) -> None:
        self._path = path
        self._judges = judges
        self._sweeps: dict[str, ImageSweep] = {}
        if path.exists():
            document = json.loads(path.read_text())
            if document["method"] == AnchorPoints.METHOD:
                shipped = tuple(_shipped(name) for name in registry.available())
                self._sweeps = {
                    key: ImageSweep.from_json(row)
                    for key, row in document["sweeps"].items()
                    if key.partition(" ")[2].startswith(shipped)
                }

    def sweep(
        self,
        codec: LearnedCodec,
        picture: Picture,
        rates: Sequence[float],
        *,
        effort: int,
        device: str = "cpu",
    ) -> ImageSweep:
        """Look up the sweep, or measure it where it is not known at all of the rates.

        With effort, which is slow, of the rates only the headline's is asked for.
        """
        post_processor = codec.post_processor.model_id if codec.post_processor else None
        model = _key(codec.name, codec.model_id, post_processor)
        key = f"{fingerprint(picture)} {model}{effort}"
        wanted = [rate for rate in rates if not effort or rate == HEADLINE]
        known = self._sweeps.get(key)
        if known is None or not self._serves(known, wanted):
            known = sweep_codec(
                codec, picture, wanted, effort=effort, judges=self._judges, known=known, device=device
            )
            self._sweeps[key] = known
        return known

    def save(self) -> None:
        """Write the file anew, atomically."""
        lines = ",\n".join(
            f"  {json.dumps(key)}: {json.dumps(rounded(asdict(sweep)), separators=(',', ':'))}"
            for key, sweep in sorted(self._sweeps.items())
        )
        text = f'{{"method": {json.dumps(AnchorPoints.METHOD)}, "sweeps": {{\n{lines}\n}}}}\n'
        write_atomically(self._path, text.encode())

    def _serves(self, sweep: ImageSweep, rates: Sequence[float]) -> bool:
        """Say if a sweep has all that is asked for."""
        judged = sweep.points[-len(JUDGED) :]
        return (
            [row.target_bpp for row in sweep.exact] == list(rates)
            and len(sweep.points) == len(QUALITIES)
            and all(set(self._judges) <= set(point.scores) for point in judged)
        )


def _key(name: str, model_id: str, post_processor: str | None) -> str:
    """Make the part of a sweep's key that names the model; the effort follows."""
    post = f"post {post_processor} " if post_processor else ""
    return f"{name} {model_id} {post}effort "


def _shipped(name: str) -> str:
    """Make the key of a profile as `LearnedCodec.load` has it."""
    has_post_processor = name in post_model.available()
    post_processor = post_model.card(name).model_id if has_post_processor else None
    return _key(name, registry.card(name).model_id, post_processor)
