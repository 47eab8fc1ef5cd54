"""Our own codec over an image, and what was measured of it before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from models.evaluation.points import AnchorPoints, Point, fingerprint, measure
from models.evaluation.report import HEADLINE, Exact, Sweep, rounded
from models.learned.codec import LearnedCodec
from models.picture import Picture
from models.postprocess import model as post_model
from models.rate_control import Target
from models.stream import Stream
from models.weights import registry

QUALITIES = (0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0, 100.0)  # settings of our curves; the last for smooth pictures


def own_name(codec: LearnedCodec, effort: int) -> str:
    """What tables and plots call a profile of ours."""
    return f"ziggurat-{codec.name}" + (f"-effort-{effort}" if effort else "")


def sweep_codec(
    codec: LearnedCodec, picture: Picture, rates: Sequence[float], *, effort: int = 0, perceptual: bool = False, device: str = "cpu"
) -> Sweep:
    """Our codec over its quality axis and at the exact rates. One stream at a time: a batch would save nothing but cost memory."""

    def point(stream: Stream) -> Point:
        decoded = codec.decode([stream.data])[0]
        return measure(picture, decoded, setting=stream.quality, size=len(stream.data), device=device, perceptual=perceptual)

    def encoded(target: Target) -> Stream:
        return codec.encode([picture], [target], effort=effort)[0]

    points = tuple(point(encoded(Target(quality=quality))) for quality in QUALITIES)
    streams = [(bpp, encoded(Target(bpp=bpp))) for bpp in rates]
    return Sweep(points, tuple(Exact(bpp, point(stream), stream.target_met, stream.probes) for bpp, stream in streams))


class OwnSweeps:
    """Measured sweeps of ours, kept in a JSON file, by the pixels' hash, model, post-processor and effort. What is of models that are gone
    is dropped.

    Args:
        path: the file, created by `save`.
        perceptual: whether sweeps need the perceptual metrics.
    """

    def __init__(self, path: Path, *, perceptual: bool) -> None:
        self._path = path
        self._perceptual = perceptual
        self._sweeps: dict[str, Sweep] = {}
        if path.exists():
            document = json.loads(path.read_text())
            if document["method"] == AnchorPoints.METHOD:
                shipped = {_shipped(name) for name in registry.available()}
                self._sweeps = {
                    key: Sweep.of(row) for key, row in document["sweeps"].items() if key.partition(" ")[2].startswith(tuple(shipped))
                }

    def sweep(self, codec: LearnedCodec, picture: Picture, rates: Sequence[float], *, effort: int, device: str = "cpu") -> Sweep:
        """The sweep, measured unless it is known at all of the rates; with effort, which is slow, of the rates only at the headline's."""
        post_processor = codec.post_processor.model_id if codec.post_processor else None
        key = f"{fingerprint(picture)} {_key(codec.name, codec.model_id, post_processor)}{effort}"
        asked = [rate for rate in rates if not effort or rate == HEADLINE]
        known = self._sweeps.get(key)
        if known is None or not self._serves(known, asked):
            known = sweep_codec(codec, picture, asked, effort=effort, perceptual=self._perceptual, device=device)
            self._sweeps[key] = known
        return known

    def _serves(self, sweep: Sweep, rates: Sequence[float]) -> bool:
        points = [*sweep.points, *(row.point for row in sweep.exact)]
        return (
            [row.target_bpp for row in sweep.exact] == list(rates)
            and len(sweep.points) == len(QUALITIES)
            and (not self._perceptual or all(point.ssimulacra2 is not None for point in points))
        )

    def save(self) -> None:
        """Write the file anew; a reader never sees half of it."""
        rows = ",\n".join(
            f"  {json.dumps(key)}: {json.dumps(rounded(asdict(sweep)), separators=(',', ':'))}"
            for key, sweep in sorted(self._sweeps.items())
        )
        draft = self._path.with_suffix(".draft")
        draft.write_text(f'{{"method": {json.dumps(AnchorPoints.METHOD)}, "sweeps": {{\n{rows}\n}}}}\n')
        draft.replace(self._path)


def _key(name: str, model_id: str, post_processor: str | None) -> str:
    return f"{name} {model_id} " + (f"post {post_processor} " if post_processor else "") + "effort "


def _shipped(name: str) -> str:
    """The key of a profile as `Codec.load` has it."""
    post_processor = post_model.card(name).model_id if name in post_model.available() else None
    return _key(name, registry.card(name).model_id, post_processor)
