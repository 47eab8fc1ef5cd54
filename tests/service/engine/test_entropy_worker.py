"""The entropy worker's functions: what one process writes, another reads."""

from __future__ import annotations

from PIL import Image

from models import Picture, Target
from models.bitstream import Bitstream
from models.learned.codec import LearnedCodec
from service.engine import entropy_worker


def test_streams_are_written_and_read_by_the_name_of_their_model(codec: LearnedCodec, photo: Image.Image) -> None:
    entropy_worker.load([codec.name])
    quantised = codec.quantise([Picture.from_image(photo)], [Target(bpp=0.5)])[0]
    stream = entropy_worker.write(codec.name, quantised)
    symbols = entropy_worker.read(codec.name, Bitstream.parse(stream.data))
    assert (symbols.residuals == quantised.symbols.residuals).all()
    assert symbols.postprocess == quantised.symbols.postprocess
