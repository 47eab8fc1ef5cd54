from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import obstore
import pytest

from service.ids import id_of
from service.store import (
    Limits,
    NotStoredError,
    Operation,
    StoreDamagedError,
    StoreFullError,
    StoreUnavailableError,
    StreamStore,
)

from .conftest import Fault, Proxy


@pytest.fixture(params=["directory", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StreamStore:
    match request.param:
        case "directory":
            return StreamStore(str(tmp_path / "not" / "there"))
        case "memory":
            return StreamStore("memory://")
        case _:
            return StreamStore(request.getfixturevalue("bucket"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"only who may mount can have a small disk: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def path_of(root: Path, stream_id: str) -> Path:
    return root / stream_id[:2] / f"{stream_id}.zgt"


@pytest.mark.parametrize("length", [1, 1000, 600_000])
def test_a_stream_is_read_in_pieces_and_checked_before_the_first(store: StreamStore, length: int) -> None:
    async def scenario() -> None:
        async with store:
            content = random.Random(length).randbytes(length)
            stream_id = await store.put(content)
            for part in (None, range(length), range(length // 3, length // 2 + 1)):
                found = await store.read(stream_id, lambda size, part=part: part)  # type: ignore[misc]
                wanted = content if part is None else content[part.start : part.stop]
                assert b"".join([piece async for piece in found.pieces]) == wanted
                assert (found.size, found.part) == (length, part)
                assert found.digest == hashlib.sha256(wanted).digest()
            with pytest.raises(NotStoredError):
                await store.read("0" * 64)

    asyncio.run(scenario())


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
def test_what_is_no_id_is_not_stored(tmp_path: Path, stream_id: str) -> None:
    with pytest.raises(NotStoredError):
        asyncio.run(StreamStore(str(tmp_path)).get(stream_id))


@pytest.mark.parametrize("damage", [b"", b"half a str", b"a stream of another kind"])
def test_damage_is_an_error_until_the_stream_is_stored_again(tmp_path: Path, damage: bytes) -> None:
    """Such as what a power failure leaves of a write that nobody was told of."""
    failures: list[Operation] = []
    store = StreamStore(str(tmp_path), on_failure=failures.append)

    async def scenario() -> None:
        stream_id = await store.put(b"a stream")
        path_of(tmp_path, stream_id).write_bytes(damage)
        with pytest.raises(StoreDamagedError):
            await store.get(stream_id)
        assert failures == ["get"]
        assert await store.put(b"a stream") == stream_id
        assert await store.get(stream_id) == b"a stream"

    asyncio.run(scenario())


@pytest.mark.parametrize("damage", [b"", b"half a str", b"a stream of another kind"])
def test_every_method_that_reads_notices_damage(tmp_path: Path, damage: bytes) -> None:
    failures: list[Operation] = []
    store = StreamStore(str(tmp_path), on_failure=failures.append)

    async def scenario() -> None:
        stream_id = await store.put(b"a stream")
        path_of(tmp_path, stream_id).write_bytes(damage)
        for read in (store.get, store.size):
            with pytest.raises(StoreDamagedError):
                await read(stream_id)
        assert failures == ["get", "head"]
        await store.delete(stream_id)
        with pytest.raises(NotStoredError):
            await store.get(stream_id)

    asyncio.run(scenario())


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that the service may read and whose content even fits."""
    path = tmp_path / "outside" / "file"
    path.parent.mkdir()
    path.write_bytes(b"a stream")
    os.utime(path, (1000, 1000))
    return path


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_place_of_a_stream_is_damage(tmp_path: Path, outside: Path, exists: bool) -> None:
    """Even if what it leads to has the right bytes."""
    store = StreamStore(str(tmp_path / "data"))
    stream_id = id_of(b"a stream")
    link = path_of(tmp_path / "data", stream_id)
    target = outside if exists else outside.with_name("nothing")

    async def scenario() -> None:
        link.parent.mkdir()
        link.symlink_to(target)
        for read in (store.get, store.size, store.find):
            with pytest.raises(StoreDamagedError):
                await read(stream_id)
        await store.delete(stream_id)
        assert not link.is_symlink()

        link.symlink_to(target)
        assert await store.put(b"a stream") == stream_id
        assert not link.is_symlink()
        assert await store.get(stream_id) == b"a stream"

    asyncio.run(scenario())
    assert (outside.read_bytes(), outside.stat().st_mtime) == (b"a stream", 1000)
    assert list(outside.parent.iterdir()) == [outside]


def test_a_link_in_place_of_a_directory_is_not_followed(tmp_path: Path, outside: Path) -> None:
    store = StreamStore(str(tmp_path / "data"))
    stream_id = id_of(b"a stream")
    behind = outside.rename(outside.with_name(f"{stream_id}.zgt"))
    (tmp_path / "data" / stream_id[:2]).symlink_to(outside.parent)

    async def scenario() -> None:
        for operation in (store.get, store.size, store.find, store.delete):
            with pytest.raises(StoreUnavailableError):
                await operation(stream_id)
        with pytest.raises(StoreUnavailableError):
            await store.put(b"a stream")

    asyncio.run(scenario())
    assert (behind.read_bytes(), behind.stat().st_mtime) == (b"a stream", 1000)
    assert list(outside.parent.iterdir()) == [behind]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "directory"])
def test_what_is_no_file_is_damage_and_keeps_nobody_waiting(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    store = StreamStore(str(tmp_path))
    stream_id = id_of(b"a stream")
    path_of(tmp_path, stream_id).parent.mkdir()
    make(path_of(tmp_path, stream_id))

    for read in (store.get, store.size, store.find):
        with pytest.raises(StoreDamagedError):
            asyncio.run(read(stream_id))


def test_the_store_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    store = StreamStore(str(tmp_path / "data"))

    assert asyncio.run(store.get(asyncio.run(store.put(b"a stream")))) == b"a stream"


def test_streams_survive_the_process(tmp_path: Path) -> None:
    stream_id = asyncio.run(StreamStore(str(tmp_path)).put(b"a stream"))

    assert asyncio.run(StreamStore(str(tmp_path)).get(stream_id)) == b"a stream"


def test_a_failing_disk_is_told_apart_from_an_unknown_id(tmp_path: Path) -> None:
    failures: list[Operation] = []
    store = StreamStore(str(tmp_path / "data"), on_failure=failures.append)
    (tmp_path / "data").rmdir()
    (tmp_path / "data").write_text("a file where the directory was")

    with pytest.raises(StoreUnavailableError) as caught:
        asyncio.run(store.put(b"a stream"))
    assert str(tmp_path) not in str(caught.value)
    assert failures == ["put"]


def test_a_full_disk_keeps_what_it_has_and_goes_on_when_there_is_room(small_disk: Path) -> None:
    store = StreamStore(str(small_disk), limits=Limits(max_bytes=0))

    async def scenario() -> None:
        before = await store.put(bytes(100_000))
        with pytest.raises(StoreFullError):
            await store.put(bytes(200_000))
        assert [path for path in small_disk.rglob("*") if path.is_file()] == [path_of(small_disk, before)], (
            "nothing half-written"
        )
        assert await store.get(before) == bytes(100_000)
        await store.delete(before)
        assert await store.get(await store.put(bytes(200_000))) == bytes(200_000)

    asyncio.run(scenario())


_WRITER = """
import asyncio, os, sys
from service.store import StreamStore

async def write():
    store = StreamStore(sys.argv[1])
    while True:
        print(await store.put(os.urandom(2_000_000)), flush=True)

asyncio.run(write())
"""


def test_a_killed_writer_loses_nothing_it_acknowledged_and_leaves_nothing_half(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
        )
        assert writer.stdout
        acknowledged.append(writer.stdout.readline())
        time.sleep(random.uniform(0.02, 0.2))
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.readlines()
        writer.stdout.close()
        writer.wait()

    names = {path.stem for path in tmp_path.rglob("*.zgt")}
    assert {line.strip() for line in acknowledged if line.endswith("\n")} <= names
    assert [id_of(path_of(tmp_path, name).read_bytes()) for name in names] == list(names)


def test_two_writers_of_one_stream_through_two_processes_of_the_service(bucket: str) -> None:
    """Create-only writes: the second is told that the name is taken, and replaces nothing."""

    async def scenario() -> None:
        first = StreamStore(bucket)
        second = StreamStore(bucket)
        ids = await asyncio.gather(*(store.put(b"a stream" * 10_000) for store in (first, second) * 4))
        written = await obstore.head_async(first._store, f"{ids[0][:2]}/{ids[0]}.zgt")
        await second.put(b"a stream" * 10_000)
        again = await obstore.head_async(second._store, f"{ids[0][:2]}/{ids[0]}.zgt")
        assert (written["last_modified"], written["e_tag"]) == (again["last_modified"], again["e_tag"])

    asyncio.run(scenario())


def test_a_slow_bucket_is_waited_for(bucket: str, proxy: Proxy) -> None:
    proxy.delay = 0.3
    store = StreamStore(bucket, timeout_seconds=30)

    async def scenario() -> None:
        assert await store.get(await store.put(b"a stream")) == b"a stream"

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", ["refuses", "answers 503", "is silent"])
def test_a_dead_bucket_is_given_up_in_time_and_has_lost_nothing_when_it_is_back(
    bucket: str, proxy: Proxy, fault: Fault
) -> None:
    failures: list[Operation] = []
    store = StreamStore(bucket, timeout_seconds=1, on_failure=failures.append)

    async def scenario() -> None:
        stream_id = await store.put(b"acknowledged")
        proxy.fail(fault)
        async with asyncio.timeout(20):  # obstore by itself would try for minutes
            for attempt in (
                store.put(b"refused"),
                store.get(stream_id),
                store.size(stream_id),
                store.delete(stream_id),
            ):
                with pytest.raises(StoreUnavailableError):
                    await attempt
        assert failures == ["put", "get", "head", "head"]
        proxy.fault = None
        assert await store.get(stream_id) == b"acknowledged"
        assert await store.get(await store.put(b"refused")) == b"refused"

    asyncio.run(scenario())


def test_a_missing_bucket_is_no_unknown_id(bucket: str) -> None:
    store = StreamStore(f"{bucket.rsplit('/', 2)[0]}-is-not-there/kept")

    with pytest.raises(StoreUnavailableError):
        asyncio.run(store.put(b"a stream"))
    with pytest.raises(StoreUnavailableError):
        asyncio.run(store.get(id_of(b"a stream")))


def test_the_tests_for_buckets_wrote_into_the_prefix(bucket: str) -> None:
    async def scenario() -> None:
        stream_id = await StreamStore(bucket).put(b"a stream")
        root = bucket.rsplit("/", 2)[0]
        listed = [entry["path"] for batch in obstore.list(StreamStore(root)._store) for entry in batch]
        assert listed == [f"kept/here/{stream_id[:2]}/{stream_id}.zgt"]

    asyncio.run(scenario())


def test_many_who_ask_for_a_long_stream_do_not_hold_it_each(tmp_path: Path) -> None:
    length, askers = 2_000_000, 40

    async def main() -> None:
        async with StreamStore(str(tmp_path)) as store:
            stream_id = await store.put(random.Random(0).randbytes(length))

            async def parse() -> None:
                async with store.held(stream_id) as stream:
                    await asyncio.sleep(0.01)
                    assert len(stream) == length

            tracemalloc.start()
            try:
                await asyncio.gather(*(store.size(stream_id) for _ in range(askers)))
                assert tracemalloc.get_traced_memory()[1] < 4 * length
                await asyncio.gather(*(parse() for _ in range(askers)))
                assert tracemalloc.get_traced_memory()[1] < 12 * length
            finally:
                tracemalloc.stop()

    asyncio.run(main())
