"""Codecs that several tests share: the tiny one of the golden streams where any will do, the
shipped ones where quality counts.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from PIL import Image

from models import Picture, Target
from models.entropy.blas import open_blas
from models.entropy.code_lengths import CodeLengths
from models.learned.codec import LearnedCodec
from models.learned.encoder import Encoder
from models.learned.model import CodecModel
from models.learned.objective import Objective
from models.learned.refinement.window import Window
from models.learned.symbols import Quantised
from models.learned.transforms import TILE, Transforms
from models.weights import registry
from models.weights.registry import available
from tests.make_golden import tiny_codec


@pytest.fixture(scope="session")
def tiny() -> LearnedCodec:
    return tiny_codec()


@pytest.fixture(scope="session", params=available())
def shipped(request: pytest.FixtureRequest) -> LearnedCodec:
    return LearnedCodec.load(request.param)


@pytest.fixture
def three_blas_threads() -> Iterator[None]:
    """NumPy's products have three threads, on however many cores."""
    functions = open_blas()
    if functions is None:
        pytest.skip("NumPy does not use OpenBLAS here")
    get, set_to = functions
    before = get()
    set_to(3)
    yield
    set_to(before)


@pytest.fixture
def found(shipped: LearnedCodec, photo: Image.Image) -> tuple[Quantised, Window]:
    """The photo as quantised without effort, as one window.

    Fine enough for single steps to find something in so small a picture.
    """
    model, picture = CodecModel.load(registry.weights(shipped.name)), Picture.from_image(photo)
    transforms = Transforms(model, shipped.device, bfloat16=False, tile=TILE)
    with torch.inference_mode():
        quantised = Encoder(model, transforms).quantise([picture], [Target(quality=55.0)], [None])[0]
    symbols, objective = quantised.symbols, Objective.of(shipped.card)
    residuals, z = (torch.from_numpy(values)[None] for values in (symbols.residuals, symbols.z))
    indices = transforms.indices(z, residuals)
    anchor = transforms.anchors([symbols.position])
    with torch.no_grad():
        z_mean = transforms.network.mean(z.float(), *residuals.shape[-2:])
    x = torch.from_numpy(picture.rgb).permute(2, 0, 1)[None].float() / 255
    return quantised, Window(
        transforms=transforms,
        objective=objective,
        code_lengths=CodeLengths(model.tables, model.context_model, shipped.device),
        lmbda=float(objective.lmbda(torch.tensor(symbols.position.share))),
        x=x,
        start=residuals.float(),
        indices=indices,
        movable=indices > 0,
        z_mean=z_mean,
        anchor=anchor,
        postprocess=lambda x_hat: x_hat,
    )
