"""service.bulk.places"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from service.bulk import BulkError, places
from service.bulk.places import Source


def found(*locations: object) -> tuple[list[Source], int]:
    pages = list(places.find(map(str, locations), {".png", ".jpg"}))
    return [source for images, _ in pages for source in images], sum(others for _, others in pages)


def test_a_folder_is_searched_all_the_way_down(folder: Path) -> None:
    sources, others = found(folder)
    names = {"a.png", "b.png", "d.jpg", "none.png", "torn.png", "day 2/c.png", "day 2/same.png"}
    assert {source.path for source in sources} == names
    assert others == 1
    assert {source.root for source in sources} == {str(folder)}
    (a,) = (source for source in sources if source.path == "a.png")
    assert (a.name, a.size) == (str(folder / "a.png"), (folder / "a.png").stat().st_size)
    assert asyncio.run(places.read(a)) == (folder / "a.png").read_bytes()


def test_a_file_is_a_source_and_a_relative_path_becomes_absolute(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    ((source,), others) = found("in/d.jpg")
    assert (source.name, others) == (str(folder / "d.jpg"), 0)


def test_what_is_not_there_is_said(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(BulkError, match="nowhere does not exist"):
        found(tmp_path / "nowhere")
    with pytest.raises(BulkError, match="nowhere://"):
        found("nowhere://bucket")
    ((source,), _) = found(folder / "a.png")
    (folder / "a.png").unlink()
    with pytest.raises(FileNotFoundError):
        asyncio.run(places.read(source))


def test_a_name_that_is_no_text_counts_as_another_kind(folder: Path) -> None:
    Path(os.fsdecode(bytes(folder) + b"/\xff.png")).write_bytes(b"")
    sources, others = found(folder)
    assert (len(sources), others) == (7, 2)


def test_a_bucket_is_listed_and_read() -> None:
    bucket = places.store("memory:///bucket")
    for name in ("some/a.png", "some/deep/b.jpg", "some/.c.png", "some/d.txt"):
        bucket.put(name, name.encode())
    sources, others = found("memory:///bucket")
    assert sorted(source.name for source in sources) == [
        "memory:///bucket/some/a.png",
        "memory:///bucket/some/deep/b.jpg",
    ]
    assert others == 1
    assert asyncio.run(places.read(sources[0])) == sources[0].path.encode()
    assert all(source.etag for source in sources)


def test_a_key_depends_on_all_that_a_result_depends_on() -> None:
    source = Source("/root", "a.png", 10, "v1")
    others = [
        replace(source, path="b.png"),
        replace(source, size=11),
        replace(source, etag="v2"),
        replace(source, max_bytes=5),
    ]
    keys = {source.key("s"), source.key("t"), *(other.key("s") for other in others)}
    assert len(keys) == 6
    assert all(len(key) == 16 for key in keys)
    assert source.key("s") == Source("/root", "a.png", 10, "v1").key("s")
