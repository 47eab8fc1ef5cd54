from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.ids import id_of
from service.store import Limits, NotStoredError, StoreFullError, StreamStore


def stream(number: int, size: int = 1000) -> bytes:
    return number.to_bytes(4, "big") + bytes(size - 4)


def age(root: Path, stream_id: str, seconds: float) -> None:
    os.utime(root / stream_id[:2] / f"{stream_id}.zgt", (time.time() - seconds,) * 2)


def on_disk(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


@asynccontextmanager
async def swept_store(root: Path) -> AsyncIterator[StreamStore]:
    """A store of 10,000 bytes whose first sweep is over: it would see half of what is prepared."""
    async with StreamStore(str(root), limits=Limits(max_bytes=10_000)) as store:
        assert store.quota
        await store.quota._sweep()
        yield store


async def counted(store: StreamStore, streams: int) -> None:
    """Until the count at the start has come to this many."""
    async with asyncio.timeout(20):
        while not store.quota or store.quota.streams != streams:
            await asyncio.sleep(0.01)


def test_the_oldest_make_room_for_the_newest(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with swept_store(tmp_path) as store:
            ids = []
            for number in range(25):
                ids.append(await store.put(stream(number)))
                age(tmp_path, ids[-1], 1000 - number)
                assert on_disk(tmp_path) <= 10_000
            with pytest.raises(NotStoredError):
                await store.get(ids[0])
            for number in range(16, 25):
                assert await store.get(ids[number]) == stream(number)

    asyncio.run(scenario())


def test_a_burst_is_refused_rather_than_what_was_just_acknowledged_thrown_away(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with StreamStore(str(tmp_path), limits=Limits(max_bytes=10_000, min_age_seconds=60)) as store:
            answers = await asyncio.gather(
                *(store.put(stream(number)) for number in range(20)), return_exceptions=True
            )
            kept = [answer for answer in answers if isinstance(answer, str)]
            refused = [answer for answer in answers if isinstance(answer, StoreFullError)]
            assert (len(kept), len(refused)) == (10, 10)
            assert all(1 <= error.retry_after <= 60 for error in refused)
            assert {len(await store.get(stream_id)) for stream_id in kept} == {1000}

            for stream_id in kept[:4]:
                age(tmp_path, stream_id, 100)
            await store.delete(kept[9])  # whatever changes the store lets it look again before the time is up
            await store.put(stream(99))
            await store.put(stream(100))
            with pytest.raises(NotStoredError):
                await store.get(kept[0])

    asyncio.run(scenario())


def test_a_stream_larger_than_the_quota_is_refused_and_evicts_nothing_for_good(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with swept_store(tmp_path) as store:
            stream_id = await store.put(stream(1))
            with pytest.raises(StoreFullError, match="10001 bytes, more than the stream store's 10000"):
                await store.put(bytes(10_001))
            assert await store.get(stream_id) == stream(1)

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [1001, 5000, 10_000])
def test_a_stream_of_more_than_a_tenth_of_the_quota_gets_its_room(tmp_path: Path, size: int) -> None:
    """A sweep leaves nine tenths: what needs more is told to it."""

    async def scenario() -> None:
        async with swept_store(tmp_path) as store:
            for number in range(9):
                age(tmp_path, await store.put(stream(number)), 1000 - number)
            assert store.quota
            await store.put(stream(99, size))
            assert on_disk(tmp_path) <= 10_000
            assert store.quota.bytes <= 10_000

    asyncio.run(scenario())


def test_large_streams_at_the_same_time_all_get_their_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with swept_store(tmp_path) as store:
            for number in range(10):
                age(tmp_path, await store.put(stream(number)), 1000 - number)
            await asyncio.gather(*(store.put(stream(number, 2500)) for number in range(20, 24)))
            assert on_disk(tmp_path) == 10_000

    asyncio.run(scenario())


def test_a_large_stream_that_finds_no_room_is_in_nobodys_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with swept_store(tmp_path) as store:
            ids = [await store.put(stream(number)) for number in range(10)]
            for stream_id in ids[:5]:
                age(tmp_path, stream_id, 1000)
            with pytest.raises(StoreFullError) as refused:
                await store.put(stream(99, 6000))
            assert 1 < refused.value.retry_after <= 60
            assert on_disk(tmp_path) >= 9000, "nothing was evicted in vain"
            for number in range(20, 25):
                await store.put(stream(number))
            with pytest.raises(StoreFullError):
                await store.put(stream(25))

    asyncio.run(scenario())


def test_a_clock_set_back_keeps_nobody_waiting_for_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with swept_store(tmp_path) as store:
            for number in range(10):
                age(tmp_path, await store.put(stream(number)), -86_400 + number)
            await store.put(stream(99))

    asyncio.run(scenario())


def test_a_clock_set_back_while_the_store_is_full_does_not_add_to_the_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with swept_store(tmp_path) as store:
            for number in range(10):
                await store.put(stream(number))
            with pytest.raises(StoreFullError):
                await store.put(stream(10))
            today = time.time
            monkeypatch.setattr(time, "time", lambda: today() - 86_400)
            with pytest.raises(StoreFullError) as refused:
                await store.put(stream(11))
            assert refused.value.retry_after <= 60

    asyncio.run(scenario())


def test_what_was_there_before_counts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with StreamStore(str(tmp_path)) as store:
            for number in range(10):
                await store.put(stream(number))
        async with StreamStore(str(tmp_path), limits=Limits(max_bytes=10_500)) as store:
            await counted(store, 10)
            with pytest.raises(StoreFullError):
                await store.put(stream(11))
            assert store.quota
            assert (store.quota.bytes, store.quota.streams) == (10_000, 10)

    asyncio.run(scenario())


def test_storing_again_takes_no_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with swept_store(tmp_path) as store:
            assert store.quota
            for _ in range(50):
                await store.put(stream(1))
            assert (store.quota.bytes, store.quota.streams) == (1000, 1)

    asyncio.run(scenario())


def test_storing_again_is_possible_when_the_store_is_full(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with swept_store(tmp_path) as store:
            for number in range(10):
                await store.put(stream(number))
            with pytest.raises(StoreFullError):
                await store.put(stream(10))
            assert await store.put(stream(3)) == id_of(stream(3))

    asyncio.run(scenario())


def test_over_age_streams_are_gone_after_a_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with StreamStore(str(tmp_path)) as store:
            old = await store.put(stream(1))
            young = await store.put(stream(2))
        age(tmp_path, old, 4000)
        async with StreamStore(str(tmp_path), limits=Limits(max_age_seconds=3600)) as store:
            await counted(store, 1)
            assert await store.get(young) == stream(2)
            with pytest.raises(NotStoredError):
                await store.get(old)

    asyncio.run(scenario())


def test_a_tiny_stream_takes_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.disk.BLOCK", 4096)

    async def scenario() -> None:
        async with StreamStore(str(tmp_path), limits=Limits(max_bytes=10 * 4096, min_age_seconds=0)) as store:
            for number in range(30):
                await store.put(bytes([number]))
            assert store.quota is not None
            assert store.quota.bytes <= 10 * 4096
            assert len(list(tmp_path.rglob("*.zgt"))) <= 10

    asyncio.run(scenario())
