from __future__ import annotations

from service.ids import id_of


def test_an_id_is_the_sha256() -> None:
    assert id_of(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
