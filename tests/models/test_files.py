"""models.files"""

from __future__ import annotations

from pathlib import Path

import pytest

from models.files import LimitedReader, write_atomically


def test_a_file_is_replaced_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "facts.json"
    write_atomically(path, b"old")

    def fails(self: Path, target: Path) -> Path:
        raise OSError("out of order")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="out of order"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_gives_out_after_so_many_reads() -> None:
    reader = LimitedReader(b"abcdef", reads=2)
    assert reader.read(1) == b"a"
    assert reader.read() == b"bcdef"
    with pytest.raises(ValueError, match="too many parts"):
        reader.read(1)
