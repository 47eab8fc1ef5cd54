from __future__ import annotations

from models import Stream, Target
from models.bitstream import CodecKind
from service.engine.results import Compressed, Measure, better


def compressed(codec: CodecKind, size: int, psnr: float, effort: int) -> Compressed:
    stream = Stream(
        bytes(size),
        width=10,
        height=10,
        quality=50,
        model="psnr",
        probes=1,
        target=Target(max_bytes=100),
        target_met=True,
        codec=codec,
    )
    return Compressed(stream, {Measure.PSNR: psnr, Measure.MS_SSIM: psnr / 100}, effort)


def test_the_better_of_two_keeps_only_the_report_that_was_asked_for() -> None:
    learned = compressed(CodecKind.LEARNED, 90, 30.0, effort=3)
    hybrid = compressed(CodecKind.HYBRID, 80, 31.0, effort=2)

    made = better(learned, hybrid, "psnr", frozenset({Measure.MS_SSIM}))

    assert (made.stream.codec, made.effort, made.report) == (CodecKind.HYBRID, 2, {Measure.MS_SSIM: 0.31})
    assert made.stream.auto is not None
    assert (made.stream.auto.metric, made.stream.auto.learned, made.stream.auto.hybrid) == (
        "psnr",
        30.0,
        31.0,
    )


def test_what_is_within_the_budget_goes_before_what_scores_better() -> None:
    learned = compressed(CodecKind.LEARNED, 100, 20.0, effort=0)
    hybrid = compressed(CodecKind.HYBRID, 101, 40.0, effort=0)

    assert better(learned, hybrid, "ms-ssim", frozenset()).stream.codec is CodecKind.LEARNED


def test_measures_are_the_metrics_of_the_codec() -> None:
    assert [measure.score for measure in Measure] == [measure.value for measure in Measure]
