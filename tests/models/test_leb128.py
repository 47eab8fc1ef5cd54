"""models.leb128"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import leb128


@given(value=st.integers(0, (1 << 56) - 1), before=st.binary(max_size=3), after=st.binary(max_size=3))
def test_values_come_back_from_among_other_bytes(value: int, before: bytes, after: bytes) -> None:
    encoded = leb128.encode(value)
    assert leb128.decode(before + encoded + after, len(before)) == (value, len(before) + len(encoded))


@pytest.mark.parametrize(("value", "encoded"), [(0, "00"), (127, "7f"), (128, "8001"), (624485, "e58e26")])
def test_examples_of_the_dwarf_standard(value: int, encoded: str) -> None:
    assert leb128.encode(value).hex() == encoded


def test_longer_encodings_are_read_up_to_the_limit() -> None:
    assert leb128.decode(b"\x85\x80\x00", 0) == (5, 3)
    assert leb128.decode(b"\x85\x80\x00", 0, max_bytes=3) == (5, 3)
    with pytest.raises(ValueError, match="more than 2 bytes"):
        leb128.decode(b"\x85\x80\x00", 0, max_bytes=2)
    with pytest.raises(ValueError, match="more than 8 bytes"):
        leb128.decode(b"\x80" * 8 + b"\x01", 0)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 7])
def test_an_integer_that_is_cut_off_is_told(data: bytes) -> None:
    with pytest.raises(IndexError):
        leb128.decode(data, 0)
