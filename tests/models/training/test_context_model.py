"""models.training.context_model: what is trained is what codes"""

from __future__ import annotations

import torch

from models.entropy.code_lengths import CodeLengths
from models.entropy.context_model import INPUT_LIMIT, MAX_INDEX_SHIFT, ContextModel
from models.entropy.scale_decoder import ACTIVATION_LIMIT
from models.training.context_model import RoundedNetwork, trained_context_model
from models.training.tables import counted
from tests.models.entropy.integers import TABLES


def test_training_computes_in_the_integers_it_exports() -> None:
    torch.manual_seed(0)
    x = torch.randint(INPUT_LIMIT + 1, (500, 40)).float()
    network = RoundedNetwork(x.mean(0).round(), 9)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    first, second, last = network.exact()
    hidden = second(first(x.T.numpy(), 0, ACTIVATION_LIMIT), 0, ACTIVATION_LIMIT)
    shifts = torch.from_numpy(last(hidden, -MAX_INDEX_SHIFT, MAX_INDEX_SHIFT).T)
    apart = (network(x).round() - shifts).abs()
    assert len(set(shifts.flatten().tolist())) > 5
    assert apart.max() <= 1
    # The multipliers are rounded to 2**-24: a tie may fall to the other side.
    assert apart.mean() < 0.01


def test_what_is_decoded_tells_scales_that_the_indices_do_not() -> None:
    """Pictures of any loudness: in one band neighbours tell it, in two the lower band as well."""
    torch.manual_seed(0)
    indices = torch.full((30, 12, 8, 8), 25, dtype=torch.uint8)
    residuals = (torch.randn(indices.shape) * torch.randn(30, 1, 1, 1).exp()).round().short()

    def bits(context_model: ContextModel) -> float:
        return float(
            CodeLengths(TABLES, context_model, torch.device("cpu")).of_residuals(indices, residuals)[0].sum()
        )

    one_band, two_bands = (
        trained_context_model(TABLES, [(indices, residuals)], steps=50, band_starts=starts)
        for starts in ([0], [0, 3])
    )
    assert bits(one_band) < 0.95 * bits(ContextModel.identity())
    assert bits(two_bands) < 0.98 * bits(one_band)
    tables = counted(TABLES, two_bands, [(indices, residuals)])
    frequencies = CodeLengths(tables, two_bands, torch.device("cpu"))
    assert frequencies.of_residuals(indices, residuals)[0].sum() < 0.995 * bits(two_bands)
