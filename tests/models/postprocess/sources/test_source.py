"""models.postprocess.sources.source"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models import Picture, Target
from models.errors import BitstreamError, SourceError
from models.learned.codec import LearnedCodec
from models.postprocess.sources import Source, read
from tests.models.postprocess.sources.encoding import encode


def test_what_has_no_quantiser_is_refused(photo: Image.Image) -> None:
    with pytest.raises(SourceError, match="not a JPEG, WebP or AVIF"):
        read(encode(photo, "PNG"))
    with pytest.raises(SourceError, match="lossless"):
        read(encode(photo, "WEBP", lossless=True))
    with pytest.raises(SourceError, match="lossless"):
        read(encode(photo, "AVIF", quality=100, subsampling="4:4:4", speed=9))
    with pytest.raises(SourceError):
        read(b"")


@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_but_never_fails(data: st.DataObject) -> None:
    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    file = bytearray(encode(picture, data.draw(st.sampled_from(["JPEG", "WEBP", "AVIF"])), quality=30))
    for _ in range(data.draw(st.integers(0, 4))):
        file[data.draw(st.integers(0, min(len(file), 700) - 1))] = data.draw(st.integers(0, 255))
    del file[data.draw(st.integers(0, len(file))) :]
    try:
        source = read(bytes(file))
    except SourceError:
        return
    assert isinstance(source, Source)
    assert 0 <= source.coarseness <= 1


def test_a_stream_of_the_learned_codec_tells_its_model_and_position(
    tiny: LearnedCodec, photo: Image.Image
) -> None:
    stream = tiny.encode([Picture.from_image(photo)], [Target(quality=30)])[0]
    source = read(stream.data)
    assert source.kind == tiny.model_id
    assert source.coarseness == pytest.approx(0.7, abs=1e-4)
    with pytest.raises(BitstreamError):
        read(stream.data[:-1])
