"""service.bulk.work"""

from __future__ import annotations

import json
from dataclasses import replace

from models import Target
from service.bulk.work import Share, Wishes, Work
from tests.service.bulk.conftest import MEANS


def test_settings_tell_apart_all_that_streams_depend_on(wishes: Wishes) -> None:
    asked = [
        wishes,
        replace(wishes, target=Target(bpp=0.6)),
        replace(wishes, target=Target(bpp=0.5, min_psnr=30)),
        replace(wishes, target=None),
        replace(wishes, model_id="00000000"),
        replace(wishes, codec="hybrid"),
        replace(wishes, effort=1),
        replace(wishes, strict=True),
        replace(wishes, metadata="keep"),
    ]
    assert len({each.settings for each in asked}) == len(asked)
    assert json.loads(wishes.settings)["bpp"] == 0.5


def test_measurements_do_not_depend_on_the_budget(wishes: Wishes) -> None:
    measuring = Work(wishes, MEANS, "out", measures=True)
    other = Work(replace(wishes, effort=3, strict=True), MEANS, "out", measures=True)
    assert measuring.settings == other.settings != Work(wishes, MEANS, "out").settings
    assert measuring.settings != Work(replace(wishes, metadata="keep"), MEANS, "out", measures=True).settings


def test_a_share_of_one_budget_is_a_target(wishes: Wishes) -> None:
    assert wishes.target_of(None) == wishes.target
    assert replace(wishes, target=None).target_of(700).max_bytes == 700


def test_blocks_keep_all_actors_busy_to_the_end() -> None:
    share = Share(actors=4, cores=2, gpus=0)
    assert [share.block(count) for count in (1, 64, 640, 1_000_000)] == [1, 1, 10, 64]
    assert Share(1, 8, 1).at_once > share.at_once
