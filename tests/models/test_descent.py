"""models.descent, on one window of the shipped models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from models import Codec, Picture, Target, registry
from models.descent import Descent, Window
from models.encoder import Encoder
from models.entropy.code_lengths import CodeLengths
from models.model import CodecModel
from models.objective import Objective
from models.rate_control import FINEST
from models.symbols import Quantised
from models.transforms import TILE, Transforms

QUALITY = 60.0


@pytest.fixture
def found(shipped: Codec, photo: Image.Image) -> tuple[Quantised, Window]:
    """The photo as quantised without effort, as one window."""
    model, picture = CodecModel.load(registry.weights(shipped.name)), Picture.from_image(photo)
    transforms = Transforms(model, shipped.device, bfloat16=False, tile=TILE)
    with torch.inference_mode():
        quantised = Encoder(model, transforms).quantise([picture], [Target(quality=QUALITY)], [None])[0]
    symbols, objective = quantised.symbols, Objective.of(shipped.card)
    residuals, indices, z = (torch.from_numpy(values)[None] for values in (symbols.residuals, quantised.indices, symbols.z))
    quality = transforms.quality([symbols.quality])
    with torch.no_grad():
        z_mean = transforms.network.mean(z.float(), *residuals.shape[-2:])
    x = torch.from_numpy(picture.rgb).permute(2, 0, 1)[None].float() / 255
    return quantised, Window(
        transforms=transforms,
        objective=objective,
        code_lengths=CodeLengths(model.tables, model.neighbours, shipped.device),
        lmbda=float(objective.lmbda(torch.tensor(symbols.quality / FINEST))),
        x=x,
        start=residuals.float(),
        indices=indices,
        movable=indices > 0,
        z_mean=z_mean,
        quality=quality,
        postprocess=lambda x_hat: x_hat,
    )


@torch.no_grad()
def believed(window: Window, residuals: torch.Tensor) -> float:
    """Lambda D in bits, as the descent sees it."""
    return float(window.distortion(residuals, window.mean(lambda low: residuals[:, : low.shape[1]])))


def bits(window: Window) -> float:
    """Of what it starts from."""
    return window.bits(window.start, window.tables(window.start))


def descended(window: Window, iterations: int, budget: float | None = None) -> Descent:
    descent = Descent(window, torch.Generator().manual_seed(0))
    descent.run(iterations, budget, lambda _done, _of: True)
    return descent


def test_it_sees_the_picture_that_the_decoder_makes(shipped: Codec, found: tuple[Quantised, Window]) -> None:
    quantised, window = found
    residuals = descended(window, 4).residuals
    symbols = replace(quantised.symbols, residuals=residuals[0].to(torch.int16).numpy())
    assert not np.array_equal(symbols.residuals, quantised.symbols.residuals)
    (decoded,) = shipped.reconstruct([symbols])
    x_hat = torch.from_numpy(decoded.rgb).permute(2, 0, 1)[None].float() / 255
    seen = float(window.objective.measure(x_hat, window.x)) * window.lmbda * decoded.width * decoded.height
    assert believed(window, residuals) == pytest.approx(seen, rel=0.02)  # the decoder's pixels are whole numbers


def test_more_iterations_lower_the_loss_further(found: tuple[Quantised, Window]) -> None:
    _, window = found
    start = believed(window, window.start) + bits(window)
    losses = [believed(window, descent.residuals) + descent.bits for descent in (descended(window, n) for n in (3, 12))]
    assert start > losses[0] > losses[1]


def test_a_budget_is_met_closely_in_true_bits(found: tuple[Quantised, Window]) -> None:
    _, window = found
    budget = 0.95 * bits(window)
    descent = descended(window, 4, budget)
    assert descent.bits == pytest.approx(window.bits(descent.residuals, window.tables(descent.residuals)))
    assert 0.99 * budget < descent.bits <= budget


def test_what_may_not_move_stays(found: tuple[Quantised, Window]) -> None:
    _, window = found
    movable = window.movable.clone()
    movable[..., :3] = False
    residuals = descended(replace(window, movable=movable), 2, 0.95 * bits(window)).residuals
    assert torch.equal(residuals[~movable], window.start[~movable])
    assert not torch.equal(residuals, window.start)
