"""models.training.positions: most steps go where the codec is used, some everywhere"""

from __future__ import annotations

import torch

from models.training.positions import EMPHASISED_FROM, EMPHASISED_TO, sample_shares


def test_shares_cover_the_axis_and_most_lie_in_the_emphasised_part() -> None:
    shares = sample_shares(2000)
    assert shares.min() >= 0
    assert shares.max() <= 1
    emphasised = (shares > EMPHASISED_FROM) & (shares < EMPHASISED_TO)
    assert 0.8 < emphasised.float().mean() < 0.95


def test_a_recipe_may_emphasise_more() -> None:
    usual = (sample_shares(2000) > EMPHASISED_TO).float().mean()
    more = (sample_shares(2000, 0.95) > EMPHASISED_TO).float().mean()
    assert more - usual > 0.05


def test_a_batch_has_shares_from_everywhere() -> None:
    quarters = torch.stack([sample_shares(4) for _ in range(200)])
    assert (quarters[:, 1:] >= quarters[:, :-1]).all()
    assert quarters[:, 0].max() <= quarters[:, 1].min()
