"""Work on the device: what a batch operation gives is what the codec gives, measured by its stage."""

from __future__ import annotations

import math

import pytest
from PIL import Image

from models import Picture, Target
from models.bitstream import Bitstream
from models.learned.codec import LearnedCodec
from service.engine.effort import EffortDeadline
from service.engine.results import Measure
from service.engine.work import CompareTask, DeviceModel, MeasureTask, QuantiseTask, RefineTask
from service.metrics import Metrics


@pytest.fixture
def picture(photo: Image.Image) -> Picture:
    return Picture.from_image(photo)


def counted(metrics: Metrics, stage: str) -> float:
    return metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": stage}) or 0


def test_measuring_symbols_is_comparing_what_they_decode_to(codec: LearnedCodec, picture: Picture) -> None:
    metrics = Metrics()
    model = DeviceModel(codec, metrics)
    (quantised,) = model.quantise([QuantiseTask(picture, None, Target(bpp=0.5))])
    data = codec.symbol_codec.write(quantised).data
    symbols = codec.symbol_codec.read(codec.decided(Bitstream.parse(data), "auto"))
    everything = frozenset(Measure)
    (measured,) = model.measure([MeasureTask(symbols, picture, everything)])
    (compared,) = model.compare([CompareTask(codec.decode([data])[0], picture, everything)])
    assert measured == pytest.approx(compared)
    assert counted(metrics, "device") == 3
    assert counted(metrics, "rate_control") == 1


@pytest.mark.parametrize(("until", "outcome"), [(math.inf, "complete"), (0.0, "skipped")])
def test_refining_is_worth_the_time_or_skipped(codec: LearnedCodec, picture: Picture, until: float, outcome: str) -> None:
    metrics = Metrics()
    model = DeviceModel(codec, metrics)
    plain = QuantiseTask(picture, None, Target(bpp=0.5))
    deadline = EffortDeadline(2, until=until, between=lambda: None, wanted=lambda: True)
    (quantised,) = model.refine([RefineTask(plain, deadline, 0.1)])
    assert metrics.registry.get_sample_value("ziggurat_refinements_total", {"outcome": outcome}) == 1
    expected = codec.quantise([picture], [Target(bpp=0.5)], effort=2 if outcome == "complete" else 0)[0]
    assert (quantised.symbols.residuals == expected.symbols.residuals).all()
