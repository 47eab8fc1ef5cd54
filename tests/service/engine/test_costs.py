from __future__ import annotations

import pytest

from service.engine import costs
from service.engine.costs import LARGE_PIXELS, Size
from service.engine.results import OBJECTIVES, Measure
from service.images import ImageFormat

ALL = frozenset(Measure)


def test_more_is_dearer() -> None:
    work = [
        cost.work
        for cost in (
            costs.enhance(10**6),
            costs.compress(10**6),
            costs.compress(10**6, report={Measure.PSNR}),
            costs.compress(10**6, report=OBJECTIVES),
            costs.compress(10**6, report=ALL),
            costs.compress(10**6, "hybrid", ALL),
            costs.compress(10**6, "auto", ALL),
            costs.allocate(10**6),
        )
    ]
    assert work == sorted(set(work))
    assert costs.compress(10**6, "auto").work == costs.compress(10**6, "auto", {Measure.MS_SSIM}).work


def test_other_codecs_are_dear_by_their_encoders() -> None:
    work = [
        costs.encode(10**6, image_format).work
        for image_format in (ImageFormat.JPEG, ImageFormat.WEBP, ImageFormat.AVIF)
    ]
    assert work == sorted(work)
    assert 4 * work[1] < work[2] < costs.allocate(10**6).work
    assert costs.encode(10**6, ImageFormat.JPEG, Measure).work > work[0]


def test_it_grows_with_the_picture() -> None:
    assert costs.compress(2000, report=ALL).work == pytest.approx(2 * costs.compress(1000, report=ALL).work)
    assert costs.decompress(0).work == 0


def test_effort_is_apart() -> None:
    plain, refined = costs.compress(1000), costs.compress(1000, effort=9)
    assert refined.work == plain.work == 1000
    assert refined.effort > 10 * refined.work
    assert plain.effort == 0


def test_what_is_cut_into_tiles_is_large_and_many_pictures_are_a_collection() -> None:
    assert costs.compress(LARGE_PIXELS).size is costs.enhance(1).size is Size.SMALL
    assert costs.compress(LARGE_PIXELS + 1).size is costs.decompress(10**8).size is Size.LARGE
    assert costs.allocate(1).size is costs.allocate(10**8).size is Size.COLLECTION
