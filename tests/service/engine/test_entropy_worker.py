from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from models import Picture, Target
from models.bitstream import Bitstream
from models.errors import TruncatedStreamError, WeightsError
from models.learned.codec import LearnedCodec
from service.engine import entropy_worker


def test_a_worker_is_small() -> None:
    code = "import service.engine.entropy_worker, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.stdout == b"False\n"


def test_what_it_writes_it_reads(codec: LearnedCodec, photo: Image.Image) -> None:
    (quantised,) = codec.quantise([Picture.from_image(photo)], [Target(quality=30)])
    entropy_worker.load([codec.name])

    stream = entropy_worker.write(codec.name, quantised)
    symbols = entropy_worker.read(codec.name, Bitstream.parse(stream.data))

    np.testing.assert_array_equal(symbols.residuals, quantised.symbols.residuals)
    np.testing.assert_array_equal(symbols.z, quantised.symbols.z)
    with pytest.raises(TruncatedStreamError):
        entropy_worker.read(codec.name, Bitstream.parse(stream.data[:-9]))


def test_tables_that_do_not_exist_are_told() -> None:
    with pytest.raises(WeightsError):
        entropy_worker.load(["vmaf"])
