"""Makes the golden streams.

Run it only for a new kind of model: what it wrote must decode for ever.

    python -m tests.make_golden

The model behind them is tiny and random but complete, so that the goldens hold the format and the
integer arithmetic, not any training.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models import Picture, Target
from models.bitstream import Bitstream
from models.learned.codec import LearnedCodec
from models.learned.model import CodecModel, export
from models.learned.symbols import Symbols
from models.network.autoencoder import AutoEncoder, Topology
from models.training.crops import CropSampler
from models.training.scale_decoder import finish
from models.weights.card import ModelCard
from tests.models.entropy.integers import random_context_model

FIXTURES = Path(__file__).parent / "fixtures"
GOLDEN = FIXTURES / "golden"
TINY = Topology(widths=(8, 8, 8), latents=24, hyper=8, anchors=4)
QUALITIES = (0.0, 50.0, 100.0)


def tiny_card(model_id: str) -> ModelCard:
    """Make the card that a codec of the tiny model needs."""
    return ModelCard("tiny", model_id, "MSE", "mse", 4.17, 5793.0, 0, "", "", 0, (), "", ())


def tiny_codec() -> LearnedCodec:
    """The codec of the golden streams."""
    model = CodecModel.load(FIXTURES / "tiny.safetensors")
    return LearnedCodec(model, tiny_card(model.model_id))


def golden_picture() -> Picture:
    """The fixture photograph, 192x144."""
    with Image.open(FIXTURES / "photo.png") as image:
        return Picture.from_image(image)


def symbols_digest(codec: LearnedCodec, data: bytes) -> str:
    """SHA-256 of the integers that a stream decodes to."""
    return integers_digest(codec.symbol_codec.read(Bitstream.parse(data)))


def integers_digest(symbols: Symbols) -> str:
    """SHA-256 of the integers of a picture."""
    digest = hashlib.sha256(symbols.z.astype("<i4").tobytes())
    digest.update(symbols.residuals.astype("<i4").tobytes())
    return digest.hexdigest()


def main() -> None:
    """Make and write everything."""
    torch.manual_seed(0)
    sampler = CropSampler([golden_picture().rgb], 128, np.random.default_rng(0))
    model = finish(AutoEncoder(TINY), sampler, steps=30, batch=2, context_crops=64, context_steps=1)
    context_model = random_context_model(TINY.latents, model.context_model.band_starts, seed=0)
    export(model.network, model.scale_decoder, model.tables, context_model, model.bits_per_significant).save(
        FIXTURES / "tiny.safetensors"
    )
    codec = tiny_codec()
    digests = {}
    for quality in QUALITIES:
        data = codec.encode([golden_picture()], [Target(quality=quality)])[0].data
        (GOLDEN / f"tiny-{quality:g}.zgt").write_bytes(data)
        digests[f"tiny-{quality:g}.zgt"] = symbols_digest(codec, data)
    (GOLDEN / "symbols.json").write_text(
        json.dumps({"model_id": codec.model_id, "symbols": digests}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
