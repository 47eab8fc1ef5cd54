from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.routes.archive import safe_names, zipped


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("photo.jpg", "photo.zgt"),
        ("../../etc/passwd", "passwd.zgt"),
        ("C:\\Windows\\system.ini", "system.zgt"),
        ("two words (1).png", "two_words_1.zgt"),
        ("=cmd|calc.png", "cmd_calc.zgt"),
        ("été.tar.png", "t_.tar.zgt"),
        (".hidden", "hidden.zgt"),
        ("CON.png", "_CON.zgt"),
        ("", "image.zgt"),
        ("..", "image.zgt"),
        ("x" * 300 + ".png", "x" * 100 + ".zgt"),
    ],
)
def test_names_of_clients_become_plain_ones(name: str, safe: str) -> None:
    assert safe_names([name], ".zgt") == [safe]


def test_no_two_names_are_alike_to_any_system() -> None:
    assert safe_names(["a/photo.jpg", "b/Photo.png", "photo-2.jpg", "photo.webp"], ".zgt") == [
        "photo.zgt",
        "Photo-2.zgt",
        "photo-2-2.zgt",
        "photo-3.zgt",
    ]


@given(st.lists(st.text(max_size=30), max_size=12))
def test_whatever_the_names_they_are_safe_and_different(names: list[str]) -> None:
    safe = safe_names(names, ".zgt")
    assert len({name.lower() for name in safe}) == len(names)
    for name in safe:
        assert name.isascii()
        assert not set(name) & set('/\\:*?"<>| =')
        assert name[0] not in ".-+@"


def test_an_archive_holds_what_was_put_in_and_is_always_the_same() -> None:
    files = {"b.zgt": bytes(100), "a.csv": b"file\n"}
    with zipfile.ZipFile(io.BytesIO(zipped(files))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files
    assert zipped(files) == zipped(files)
