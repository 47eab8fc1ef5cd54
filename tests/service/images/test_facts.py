from __future__ import annotations

import pickle

from models import Picture
from service.images.facts import Decoded, Header
from tests.service.images.files import gradient, in_8_bits


def test_what_crosses_processes_is_plain() -> None:
    header = Header("PNG", 7, 5)
    decoded = Decoded(Picture.from_array(in_8_bits(gradient())), ("a warning",))

    assert header.pixels == 35
    assert pickle.loads(pickle.dumps(header)) == header
    assert pickle.loads(pickle.dumps(decoded)).warnings == ("a warning",)
