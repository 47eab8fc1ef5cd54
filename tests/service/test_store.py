from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.store import NotStoredError, StoreUnavailableError, StreamStore, id_of


@pytest.fixture(params=["directory", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StreamStore:
    return StreamStore(str(tmp_path / "not" / "there") if request.param == "directory" else "memory://")


def test_a_stream_comes_back_as_it_was(store: StreamStore) -> None:
    async def scenario() -> None:
        stream_id = await store.put(b"a stream")
        assert stream_id == id_of(b"a stream")
        assert await store.get(stream_id) == b"a stream"
        assert await store.size(stream_id) == 8

    asyncio.run(scenario())


def test_writing_twice_at_once_is_writing_once(store: StreamStore) -> None:
    async def scenario() -> None:
        ids = await asyncio.gather(*(store.put(b"a stream") for _ in range(8)))
        assert set(ids) == {id_of(b"a stream")}
        assert await store.get(ids[0]) == b"a stream"

    asyncio.run(scenario())


def test_what_was_deleted_is_gone(store: StreamStore) -> None:
    async def scenario() -> None:
        stream_id = await store.put(b"a stream")
        await store.delete(stream_id)
        for operation in (store.get, store.size, store.delete):
            with pytest.raises(NotStoredError, match=stream_id):
                await operation(stream_id)

    asyncio.run(scenario())


@pytest.mark.parametrize("stream_id", ["", "abc", "../../etc/passwd", "A" * 64, "0" * 65, "0" * 63 + "\n"])
def test_what_is_no_id_is_not_stored(store: StreamStore, stream_id: str) -> None:
    with pytest.raises(NotStoredError):
        asyncio.run(store.get(stream_id))


def test_streams_survive_the_process(tmp_path: Path) -> None:
    stream_id = asyncio.run(StreamStore(str(tmp_path)).put(b"a stream"))

    assert asyncio.run(StreamStore(str(tmp_path)).get(stream_id)) == b"a stream"


def test_a_failing_disk_is_told_apart_from_an_unknown_id(tmp_path: Path) -> None:
    store = StreamStore(str(tmp_path / "data"))
    (tmp_path / "data").rmdir()
    (tmp_path / "data").write_text("a file where the directory was")

    with pytest.raises(StoreUnavailableError) as caught:
        asyncio.run(store.put(b"a stream"))
    assert str(tmp_path) not in str(caught.value)
