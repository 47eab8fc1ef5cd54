"""models.training.tables: counted tables know their contexts, and what was seen"""

from __future__ import annotations

import torch

from models.entropy.code_lengths import CodeLengths
from models.entropy.context_model import ContextModel
from models.entropy.tables import laplace_tables
from models.network.hyperprior import FactorizedPrior
from models.training.tables import counted, hyper_tables
from tests.models.entropy.integers import TABLES


def test_hyper_tables_know_the_neighbours() -> None:
    """Hyper-latents that are alike over the plane cost less than the same ones shuffled."""
    generator = torch.Generator().manual_seed(0)
    planes = torch.randn(60, 3, 1, 1, generator=generator) * 4
    z = (planes + torch.randn(60, 3, 6, 6, generator=generator) * 0.4).round()
    tables = hyper_tables(FactorizedPrior(3), z)
    lengths = CodeLengths(tables, ContextModel.identity(), torch.device("cpu"))
    shuffled = z.flatten()[torch.randperm(z.numel(), generator=generator)].view(z.shape)
    assert lengths.of_hyper_latents(z).sum() < 0.7 * lengths.of_hyper_latents(shuffled).sum()


def test_counted_tables_make_what_was_counted_cheaper() -> None:
    """Residuals with a dead zone have more zeros than their Laplacian says."""
    silent = ContextModel.identity()
    indices = torch.full((20, 12, 8, 8), 25, dtype=torch.uint8)
    residuals = (torch.randn(indices.shape) * 1.5).trunc().short()
    found = counted(TABLES, silent, [(indices, residuals)])

    before = CodeLengths(TABLES, silent, torch.device("cpu")).of_residuals(indices, residuals)[0].sum()
    after = CodeLengths(found, silent, torch.device("cpu")).of_residuals(indices, residuals)[0].sum()
    assert after < 0.98 * before
    rounding = found.laplace[24].astype(int) - TABLES.laplace[24].astype(int)
    assert abs(rounding).max() <= 4, "nothing was seen under it"
    assert TABLES.laplace[25].tolist() == laplace_tables()[25].tolist(), "counting makes new tables"
