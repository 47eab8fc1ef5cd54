from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from service.ids import id_of
from service.store.disk import Disk, Limits

from ..conftest import Log


def store(root: Path, number: int, size: int = 100, age: float = 0.0) -> Path:
    stream_id = id_of(str(number).encode())
    path = root / stream_id[:2] / f"{stream_id}.zgt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    made(path, age)
    return path


def made(path: Path, age: float) -> None:
    """Let a file be `age` seconds old."""
    os.utime(path, (time.time() - age,) * 2)


def test_without_limits_a_sweep_only_counts(tmp_path: Path) -> None:
    for number in range(20):
        store(tmp_path, number, size=number, age=1e9)

    usage = Disk(tmp_path, Limits()).sweep()

    assert (usage.bytes, usage.streams) == (sum(range(20)), 20)


def test_what_is_over_age_goes(tmp_path: Path) -> None:
    old = store(tmp_path, 1, age=3700)
    young = store(tmp_path, 2, age=3500)

    usage = Disk(tmp_path, Limits(max_age_seconds=3600)).sweep()

    assert (old.exists(), young.exists()) == (False, True)
    assert (usage.bytes, usage.streams) == (100, 1)


def test_over_quota_the_least_recently_stored_go_first_and_some_room_is_made(
    tmp_path: Path, log: Log
) -> None:
    streams = [store(tmp_path, number, age=1000 * number) for number in range(15)]

    usage = Disk(tmp_path, Limits(max_bytes=1000)).sweep()

    assert [path.exists() for path in streams] == [True] * 9 + [False] * 6
    assert (usage.bytes, usage.streams) == (900, 9)
    (line,) = log.lines()
    assert (line["level"], line["streams"], line["bytes"]) == ("info", 6, 600)


def test_the_quota_takes_nothing_that_is_too_young_and_tells_when_it_can(tmp_path: Path) -> None:
    streams = [store(tmp_path, number, age=age) for number, age in enumerate([5, 30, 59.0, 61, 90])]

    usage = Disk(tmp_path, Limits(max_bytes=100, min_age_seconds=60)).sweep()

    assert [path.exists() for path in streams] == [True, True, True, False, False]
    assert usage.room_in == pytest.approx(1, abs=0.9)
    assert usage.max_room == -200, "three young ones of 100 bytes, in a quota of 100"


def test_a_stream_stored_again_is_young_again(tmp_path: Path) -> None:
    disk = Disk(tmp_path, Limits(max_age_seconds=3600))
    again = store(tmp_path, 1, age=4000)
    once = store(tmp_path, 2, age=4000)

    disk.refresh(f"{again.parent.name}/{again.name}")
    disk.sweep()

    assert (again.exists(), once.exists()) == (True, False)


def test_a_stream_refreshed_during_the_sweep_is_spared(tmp_path: Path) -> None:
    """Thousands are old. While the sweep removes them, all that `refresh` still finds must stay."""
    paths = [store(tmp_path, number, size=1, age=4000) for number in range(3000)]
    disk = Disk(tmp_path, Limits(max_age_seconds=3600))
    sweep = threading.Thread(target=disk.sweep)
    refreshed = []

    sweep.start()
    for path in paths:
        try:
            disk.refresh(f"{path.parent.name}/{path.name}")
        except FileNotFoundError:
            continue
        refreshed.append(path)
    sweep.join()

    assert all(path.exists() for path in refreshed)
    assert sum(path.exists() for path in paths) == len(refreshed)


def test_what_a_killed_writer_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    whole = store(tmp_path, 1)
    left = whole.with_name(f"{whole.name}#1")
    current = whole.with_name(f"{whole.name}#2")
    for path in (left, current):
        path.write_bytes(b"half a str")
    made(left, age=7200)

    usage = Disk(tmp_path, Limits()).sweep()

    assert (whole.exists(), left.exists(), current.exists()) == (True, False, True)
    assert (usage.bytes, usage.streams) == (100, 1)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    others = [
        tmp_path / "notes.txt",
        tmp_path / "ab" / "photo.png",
        tmp_path / "src" / f"{'0' * 64}.zgt",
        tmp_path / "cd",
    ]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(1000))
        made(path, age=1e9)

    usage = Disk(tmp_path, Limits(max_bytes=1, max_age_seconds=1)).sweep()

    assert all(path.exists() for path in others)
    assert usage.streams == 0


def test_a_sweep_that_is_stopped_ends(tmp_path: Path) -> None:
    streams = [store(tmp_path, number, age=4000) for number in range(5)]
    disk = Disk(tmp_path, Limits(max_age_seconds=3600))

    disk.stop()
    disk.sweep()

    assert all(path.exists() for path in streams)


def test_what_waits_gets_room_even_if_it_is_more_than_a_sweep_makes_by_itself(tmp_path: Path) -> None:
    streams = [store(tmp_path, number, age=1000 * (number + 1)) for number in range(8)]

    usage = Disk(tmp_path, Limits(max_bytes=1000)).sweep(waiting=[300, 200])

    assert [path.exists() for path in streams] == [True] * 5 + [False] * 3, "the oldest three"
    assert (usage.bytes, usage.streams) == (500, 5)


def test_nothing_is_evicted_in_vain_for_what_there_is_no_room_for(tmp_path: Path) -> None:
    young = [store(tmp_path, number, age=10) for number in range(4)]
    old = [store(tmp_path, number, age=1000 + number) for number in range(4, 8)]

    usage = Disk(tmp_path, Limits(max_bytes=1000)).sweep(waiting=[700])
    assert all(path.exists() for path in young + old)
    assert usage.max_room == 600
    assert usage.room_in == pytest.approx(50, abs=5)

    Disk(tmp_path, Limits(max_bytes=1000)).sweep(waiting=[700, 250])
    assert [path.exists() for path in young + old] == [True] * 7 + [False], "the small one has its room"


def test_what_is_being_written_counts(tmp_path: Path) -> None:
    streams = [store(tmp_path, number, age=1000 * (number + 1)) for number in range(5)]

    Disk(tmp_path, Limits(max_bytes=1000)).sweep(waiting=[300], reserved=400)

    assert [path.exists() for path in streams] == [True] * 3 + [False] * 2


def test_streams_from_before_the_clock_was_set_back_are_the_oldest_in_their_own_order(tmp_path: Path) -> None:
    day = 86_400
    ahead = [store(tmp_path, number, age=-day + number) for number in range(4)]
    behind = [store(tmp_path, number, age=3600 + number) for number in range(4, 8)]

    usage = Disk(tmp_path, Limits(max_bytes=700, max_age_seconds=7200)).sweep()
    assert [path.exists() for path in ahead] == [True, True, False, False]
    assert all(path.exists() for path in behind)
    assert usage.room_in <= 60, "nobody waits for a day"

    Disk(tmp_path, Limits(max_bytes=700)).sweep(waiting=[700])
    assert not any(path.exists() for path in ahead + behind)


def test_a_clock_that_is_a_little_behind_makes_nothing_old(tmp_path: Path) -> None:
    """As between this machine and a file server."""
    stream = store(tmp_path, 1, age=-2)

    usage = Disk(tmp_path, Limits(max_bytes=100)).sweep(waiting=[50])

    assert stream.exists()
    assert usage.room_in == pytest.approx(62, abs=1)


def test_what_a_killed_writer_left_before_the_clock_was_set_back_goes(tmp_path: Path) -> None:
    left = store(tmp_path, 1).with_suffix(".zgt#1")
    left.write_bytes(b"half a str")
    made(left, age=-86_400)

    Disk(tmp_path, Limits()).sweep()

    assert not left.exists()


def test_a_quota_by_default(tmp_path: Path) -> None:
    tenth = shutil.disk_usage(tmp_path).total // 10

    assert Disk(tmp_path, Limits()).max_bytes == min(10 * 10**9, tenth)
    assert Disk(tmp_path, Limits(max_bytes=5)).max_bytes == 5
    assert Disk(tmp_path, Limits(max_bytes=0)).max_bytes is None


def test_a_sweep_follows_no_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    root = tmp_path / "root"
    for folder in (elsewhere, root):
        folder.mkdir()
    outside = [store(elsewhere, number, size=1000, age=1e9) for number in range(3)]
    inside = store(root, 10, size=10)
    (root / outside[0].parent.name).symlink_to(outside[0].parent)  # a directory
    (inside.parent / outside[1].name).symlink_to(outside[1])  # a stream
    (inside.parent / f"{outside[2].name}#1").symlink_to(outside[2])  # a leftover

    usage = Disk(root, Limits(max_bytes=100, max_age_seconds=3600)).sweep(waiting=[90])

    assert all(path.exists() for path in outside)
    assert (inside.exists(), usage.bytes, usage.streams) == (True, 10, 1)
