from __future__ import annotations

import pytest

from models import Target
from service.engine import costs
from service.engine.costs import LARGE_PIXELS, Size
from service.engine.results import Measure
from service.images import ImageFormat

BOTH = frozenset({Measure.PSNR, Measure.MS_SSIM})


def test_more_is_dearer() -> None:
    work = [
        cost.work
        for cost in (
            costs.enhance(10**6),
            costs.compress(10**6),
            costs.compress(10**6, report={Measure.PSNR}),
            costs.compress(10**6, report=BOTH),
            costs.compress(10**6, "hybrid", BOTH),
            costs.compress(10**6, "auto", BOTH),
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
    assert costs.compress(2000, report=BOTH).work == pytest.approx(2 * costs.compress(1000, report=BOTH).work)
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


def test_a_search_by_quality_is_dear_by_its_decodes() -> None:
    once = costs.compress(10**6, report={Measure.PSNR}).work
    search = costs.compress(10**6, target=Target(min_psnr=30))
    assert search.work == costs.ATTEMPTS * once
    assert costs.compress(10**6, report={Measure.PSNR}, target=Target(min_psnr=30)) == search
    wanted = Target(min_ssimulacra2=60)
    within = Target(bpp=1, min_ssimulacra2=60)
    dearer = [
        costs.compress(10**6, report={Measure.MS_SSIM}, target=Target(min_psnr=30)).work,
        costs.compress(10**6, target=wanted).work,
        costs.compress(10**6, "auto", target=wanted).work,
        costs.compress(10**6, "auto", target=within).work,
    ]
    assert [search.work, *dearer] == sorted({search.work, *dearer})
    avif = [costs.compress(10**6, "hybrid", target=target).work for target in (wanted, within)]
    assert costs.compress(10**6, "hybrid").work < avif[0] < avif[1]
    refined = costs.compress(1000, effort=5, target=Target(min_psnr=30)).effort
    assert refined > costs.compress(1000, effort=5).effort
