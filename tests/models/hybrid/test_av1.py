from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from models import Picture, Target
from models.bitstream import Bitstream
from models.errors import DamagedStreamError, UnknownModelError
from models.hybrid import av1
from models.hybrid.codec import HybridCodec


def test_it_decodes_as_the_codec_does_and_needs_no_network(photo: Image.Image) -> None:
    rgba = photo.convert("RGBA")
    rgba.putalpha(photo.convert("L"))
    data = HybridCodec().encode(Picture.from_image(rgba), Target(quality=50)).data

    picture = av1.decode(Bitstream.parse(data))

    expected = HybridCodec().decode(data)
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.rgb, expected.rgb)
    np.testing.assert_array_equal(picture.alpha, np.asarray(photo.convert("L")))
    code = "import models.hybrid.av1, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).stdout == b"False\n"


def test_other_streams_and_frames_are_refused(photo: Image.Image) -> None:
    stream = Bitstream.parse(HybridCodec().encode(Picture.from_image(photo), Target(quality=20)).data)
    with pytest.raises(UnknownModelError):
        av1.decode(replace(stream, model_id=b"none"))
    with pytest.raises(DamagedStreamError):
        av1.decode(replace(stream, y=stream.y[:-20]))
