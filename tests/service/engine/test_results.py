"""Results: `auto` answers the better of two, with the report that was asked for."""

from __future__ import annotations

import pytest

from models import Stream, Target
from models.bitstream import CodecKind
from service.engine.results import Compressed, Measure, better


def made(codec: CodecKind, psnr: float, ms_ssim: float, effort: int) -> Compressed:
    stream = Stream(
        bytes(90), width=10, height=10, quality=5, model="x", probes=1, target=Target(max_bytes=100), target_met=True, codec=codec
    )
    return Compressed(stream, {Measure.PSNR: psnr, Measure.MS_SSIM: ms_ssim}, effort)


@pytest.mark.parametrize(("measure", "chosen", "effort"), [(Measure.PSNR, CodecKind.HYBRID, 3), (Measure.MS_SSIM, CodecKind.LEARNED, 5)])
def test_auto_is_judged_by_its_measure_and_reports_what_was_asked_for(measure: Measure, chosen: CodecKind, effort: int) -> None:
    learned, hybrid = made(CodecKind.LEARNED, 30, 0.95, 5), made(CodecKind.HYBRID, 31, 0.93, 3)
    answer = better(learned, hybrid, measure, frozenset({Measure.PSNR}))
    assert (answer.stream.codec, answer.effort) == (chosen, effort)
    assert answer.report == {Measure.PSNR: 31 if chosen is CodecKind.HYBRID else 30}
    assert answer.stream.auto is not None
    assert answer.stream.auto.metric == measure.metric


def test_measures_are_the_codecs_metrics() -> None:
    assert {measure.metric for measure in Measure} == {"psnr", "ms-ssim"}
