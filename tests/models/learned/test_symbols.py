"""Symbols and Quantised travel between processes: they pickle, and stay small."""

from __future__ import annotations

import pickle

from models import Target
from models.learned.codec import LearnedCodec
from tests.make_golden import golden_picture


def test_what_travels_is_small_and_arrives_whole(tiny: LearnedCodec) -> None:
    picture = golden_picture()
    quantised = tiny.quantise([picture], [Target(bpp=0.5)])[0]
    packed = pickle.dumps(quantised)
    latents = quantised.symbols.residuals.size
    assert len(packed) < 3 * latents + quantised.symbols.z.size + 4096, (
        "int16 residuals, uint8 tables, int8 z"
    )
    back = pickle.loads(packed)
    assert (back.symbols.residuals == quantised.symbols.residuals).all()
    assert back.symbols.position == quantised.symbols.position
    assert tiny.symbol_codec.write(back) == tiny.symbol_codec.write(quantised)
