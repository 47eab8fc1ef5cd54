from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from service.store import id_of
from service.store.disk import Disk, Limits


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


def test_over_quota_the_least_recently_stored_go_first_and_some_room_is_made(tmp_path: Path) -> None:
    streams = [store(tmp_path, number, age=1000 * number) for number in range(15)]

    usage = Disk(tmp_path, Limits(max_bytes=1000)).sweep()

    assert [path.exists() for path in streams] == [True] * 9 + [False] * 6
    assert (usage.bytes, usage.streams) == (900, 9)


def test_the_quota_takes_nothing_that_is_too_young_and_tells_when_it_can(tmp_path: Path) -> None:
    streams = [store(tmp_path, number, age=age) for number, age in enumerate([5, 30, 59.0, 61, 90])]

    usage = Disk(tmp_path, Limits(max_bytes=100, min_age_seconds=60)).sweep()

    assert [path.exists() for path in streams] == [True, True, True, False, False]
    assert usage.room_at == pytest.approx(time.time() + 1, abs=0.9)


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
