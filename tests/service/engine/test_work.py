from __future__ import annotations

import math

import pytest
from PIL import Image

from models import Picture, Target
from models.bitstream import Bitstream
from models.learned.codec import LearnedCodec
from models.progress import UNINTERRUPTED
from service.engine.effort import EffortDeadline
from service.engine.results import Measure
from service.engine.work import CompareTask, DeviceModel, MeasureTask, QuantiseTask, RefineTask
from service.metrics import Metrics


@pytest.fixture
def picture(photo: Image.Image) -> Picture:
    return Picture.from_image(photo)


def counted(metrics: Metrics, stage: str) -> float | None:
    return metrics.registry.get_sample_value("ziggurat_stage_duration_seconds_count", {"stage": stage})


def test_measuring_symbols_is_comparing_what_they_decode_to(codec: LearnedCodec, picture: Picture) -> None:
    metrics = Metrics()
    model = DeviceModel(codec, metrics)
    (quantised,) = model.quantise([QuantiseTask(picture, None, Target(bpp=0.5))], UNINTERRUPTED)
    data = codec.symbol_codec.write(quantised).data
    symbols = codec.symbol_codec.read(codec.decided(Bitstream.parse(data), "auto"))
    (decoded,) = model.reconstruct([symbols], UNINTERRUPTED)
    (measured,) = model.measure([MeasureTask(symbols, picture, frozenset(Measure))], UNINTERRUPTED)
    (compared,) = model.compare([CompareTask(decoded, picture, frozenset(Measure))], UNINTERRUPTED)

    assert measured == pytest.approx(compared)
    assert (counted(metrics, "device"), counted(metrics, "rate_control")) == (4, 1)


@pytest.mark.parametrize(
    ("until", "effort", "outcome", "stage"),
    [(math.inf, 2, "complete", "refine"), (0.0, 0, "skipped", "device")],
)
def test_a_picture_is_refined_where_there_is_time_for_it(
    codec: LearnedCodec, picture: Picture, until: float, effort: int, outcome: str, stage: str
) -> None:
    metrics = Metrics()
    target = Target(bpp=0.5)
    deadline = EffortDeadline(2, until=until, wanted=lambda: True)
    task = RefineTask(QuantiseTask(picture, None, target), deadline, quantise_seconds=0.1)
    (quantised,) = DeviceModel(codec, metrics).refine([task], UNINTERRUPTED)

    (expected,) = codec.quantise([picture], [target], effort=effort)
    assert (quantised.symbols.residuals == expected.symbols.residuals).all()
    assert metrics.registry.get_sample_value("ziggurat_refinements_total", {"outcome": outcome}) == 1
    assert (counted(metrics, "rate_control"), counted(metrics, stage)) == (1, 1)
