from __future__ import annotations

import asyncio
import random

import pytest

from service.http.pieces import Pieces


@pytest.mark.parametrize("length", [0, 1, 2**20 - 1, 2**20, 5_000_000])
def test_chunks_come_back_as_one(length: int) -> None:
    content = random.Random(length).randbytes(length)
    pieces = Pieces()
    for start in range(0, length, 65_537):
        pieces.add(content[start : start + 65_537])

    assert content.startswith(pieces.beginning)
    assert asyncio.run(pieces.joined()) == content
    assert asyncio.run(pieces.joined()) == b"", "they are held once"


def test_nothing_is_held_behind_an_error() -> None:
    pieces = Pieces()
    pieces.add(bytes(3_000_000))
    with pytest.raises(ValueError, match="refused"), pieces.dropped_on_error():
        raise ValueError("refused")
    assert asyncio.run(pieces.joined()) == b""
