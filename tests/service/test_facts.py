from __future__ import annotations

import pytest
from PIL import Image

from models.bitstream import Bitstream, CodecKind
from models.codec import Codec
from models.errors import NotAStreamError
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.rate_control.position import MAX_INDEX, Position
from service.facts import StreamFacts
from service.ids import id_of


def test_facts_are_those_of_the_stream(codec: LearnedCodec, photo: Image.Image) -> None:
    image = photo.copy()
    image.putalpha(100)
    stream = Codec(codec).compress(image, bpp=1)

    facts = StreamFacts.of(stream.data)

    assert facts.id == id_of(stream.data)
    assert (facts.width, facts.height, facts.bytes) == (128, 96, len(stream.data))
    assert facts.bpp == pytest.approx(stream.bpp, abs=1e-6)
    assert (facts.codec, facts.profile, facts.model_id) == ("learned", codec.name, codec.model_id)
    assert facts.quality == pytest.approx(stream.quality, abs=1e-3)
    assert facts.alpha_bytes
    assert facts.z_bytes + facts.y_bytes + facts.alpha_bytes < facts.bytes


def _container(model_id: bytes, codec: CodecKind = CodecKind.LEARNED) -> bytes:
    stream = Bitstream(
        codec, model_id, 8, 8, Position(0), greyscale=True, postprocess=False, z=b"", y=b"y", alpha=None
    )
    return stream.to_bytes()


def test_the_model_of_a_stranger_has_no_name() -> None:
    facts = StreamFacts.of(_container(b"\x0b\xad\xca\xfe"))

    assert (facts.profile, facts.model_id) == (None, "0badcafe")
    assert (facts.greyscale, facts.alpha_bytes) == (True, None)


def test_a_hybrid_stream_goes_by_the_name_of_its_codec() -> None:
    facts = StreamFacts.of(_container(bytes.fromhex(HybridCodec.model_id), CodecKind.HYBRID))

    assert (facts.codec, facts.profile) == ("hybrid", "avif")


def test_what_is_no_stream_has_no_facts() -> None:
    with pytest.raises(NotAStreamError):
        StreamFacts.of(b"hello")


def test_quality_is_the_same_number_as_in_version_0_1_for_every_position() -> None:
    """Clients may have stored it: 0.1.0 answered `round(index / 655.35, 3)`."""
    assert [round(Position(index).quality, 3) for index in range(MAX_INDEX + 1)] == [
        round(index / 655.35, 3) for index in range(MAX_INDEX + 1)
    ]
