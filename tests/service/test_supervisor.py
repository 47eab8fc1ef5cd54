"""`ziggurat serve --workers 2`, as a user and as an orchestrator see it."""

from __future__ import annotations

import io
import json
import signal
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from service.settings import Settings
from service.supervisor import share_of
from tests.end_to_end.servers import Server

ONE_MODEL = {"ZIGGURAT_MODELS": "psnr", "ZIGGURAT_PROFILE": "psnr", "ZIGGURAT_WORKERS": "2"}
# On SIGUSR1, as a GPU that is lost: the next batch ends the device thread.
BREAKS_ITS_DEVICE = """
import signal, threading, torch
class Lost(BaseException):
    pass
def lose(*_):
    if threading.current_thread().name.startswith("device-"):
        raise Lost
add = torch.nn.modules.module.register_module_forward_pre_hook
signal.signal(signal.SIGUSR1, lambda *_: add(lose))
"""
TOKEN = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(folder, prelude=BREAKS_ITS_DEVICE, **ONE_MODEL) as server:
        _wait_for(lambda: _up(server) == [1, 1])
        yield server


def _ask(server: Server, path: str, body: bytes | None = None, **headers: str) -> bytes:
    """One request on a connection of its own, which any worker may take."""
    if body:
        headers["Content-Type"] = "application/octet-stream"
    request = urllib.request.Request(f"http://{server.address}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: bytes = answer.read()
        return content


def _samples(server: Server, name: str, **labels: str) -> dict[str, float]:
    """Values by the number of the worker."""
    text = _ask(server, "/metrics").decode()
    return {
        sample.labels["worker"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"ziggurat_{name}" and labels.items() <= sample.labels.items()
    }


def _up(server: Server) -> list[float]:
    return list(_samples(server, "worker_up").values())


def _wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.1)


def _workers(server: Server) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(server.process.pid).children()
        if "serve" in " ".join(child.cmdline())
    ]


def _log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "server.log").read_text().splitlines()]


def _large(width: int = 1536, height: int = 1152) -> bytes:
    """A picture that takes a while."""
    file = io.BytesIO()
    noise = Image.fromarray(np.random.default_rng(5).integers(0, 256, (96, 128, 3), np.uint8))
    noise.resize((width, height)).save(file, "JPEG")
    return file.getvalue()


def test_limits_of_all_workers_are_those_of_the_service() -> None:
    whole = Settings(
        workers=4, threads=6, entropy_workers=3, max_queued_requests=2, max_queued_pixels=100, image_workers=8
    )
    share = share_of(whole)
    assert (share.threads, share.entropy_workers, share.device_threads) == (1, 0, None)
    assert (share.max_queued_requests, share.max_queued_pixels) == (1, 25)
    assert share.image_workers == 2
    assert (share.request_timeout_seconds, share.store) == (whole.request_timeout_seconds, whole.store)
    assert share_of(Settings(workers=2, image_workers=1)).image_workers == 1


def test_one_scrape_has_every_worker_and_sums_rightly(server: Server, jpeg: bytes) -> None:
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda _: _ask(server, "/compress?bpp=1", jpeg), range(16)))
    made = _samples(server, "requests_total", route="/compress", status="201")
    assert sum(made.values()) == 16
    assert set(made) == {"0", "1"}
    assert all(made.values()), "both had some"
    text = _ask(server, "/metrics").decode()
    assert text.count("# TYPE ziggurat_requests_total counter") == 1
    assert [line for line in text.splitlines() if line[0] != "#" and "worker=" not in line] == []
    assert _ask(server, "/metrics", Accept="application/openmetrics-text").endswith(b"# EOF\n")


def test_a_stream_of_one_worker_is_read_and_watched_through_any(server: Server) -> None:
    with ThreadPoolExecutor(1) as other:
        working = other.submit(
            _ask, server, "/compress?bpp=0.5&effort=1", _large(768, 576), **{"Ziggurat-Progress": TOKEN}
        )
        stages = []
        while not working.done():
            stages.append(json.loads(_ask(server, f"/progress/{TOKEN}"))["stage"])
    known = [number for number, stage in enumerate(stages) if stage != "unknown"]
    assert len(known) > 10
    assert "unknown" not in stages[known[0] : known[-1]]
    asked = _samples(server, "request_duration_seconds_count", route="/progress/{token}")
    assert all(asked.values()), "both workers were asked"


def test_a_worker_that_is_stuck_is_told_by_a_metric(server: Server) -> None:
    stuck = _workers(server)[0]
    stuck.suspend()
    try:
        _wait_for(lambda: sorted(_up(server)) == [0, 1])
    finally:
        stuck.resume()
    _wait_for(lambda: _up(server) == [1, 1])


def test_a_worker_that_dies_is_replaced_and_the_others_go_on(
    server: Server, folder: Path, jpeg: bytes
) -> None:
    dead = _workers(server)[0]
    dead.kill()
    _wait_for(lambda: sum(_samples(server, "worker_restarts_total").values()) == 1)
    assert _ask(server, "/compress?bpp=1", jpeg), "the other goes on"
    _wait_for(lambda: _up(server) == [1, 1])
    assert dead.pid not in {worker.pid for worker in _workers(server)}
    (line,) = [line for line in _log(folder) if line["message"] == "a worker died and is replaced"]
    assert (line["pid"], line["code"]) == (dead.pid, -signal.SIGKILL)


def test_a_worker_whose_device_has_failed_leaves_and_is_replaced(server: Server, jpeg: bytes) -> None:
    before = sum(_samples(server, "worker_restarts_total").values())
    broken = _workers(server)[0]
    broken.send_signal(signal.SIGUSR1)
    while broken.is_running() and broken.status() != psutil.STATUS_ZOMBIE:
        with suppress(urllib.error.HTTPError):  # 503, of those that it had
            _ask(server, "/compress?bpp=1", jpeg)
    _wait_for(lambda: _up(server) == [1, 1])
    assert sum(_samples(server, "worker_restarts_total").values()) == before + 1
    assert all(_ask(server, "/livez") for _ in range(8))


def test_a_signal_to_the_whole_group_drains_all_and_ends_with_0(server: Server, folder: Path) -> None:
    """As Ctrl-C does. The last test of this server."""
    workers = _workers(server)
    with ThreadPoolExecutor(2) as clients:
        large = _large()
        working = [clients.submit(_ask, server, "/compress?bpp=0.5", large) for _ in range(2)]
        _wait_for(lambda: sum(_samples(server, "queue_pixels").values()) >= 2 * 1536 * 1152)
        for process in (*workers, psutil.Process(server.process.pid)):
            process.send_signal(signal.SIGINT)
        assert all(job.result() for job in working), "what was accepted was answered"
    assert server.process.wait(60) == 0
    assert not [worker for worker in workers if worker.is_running()]


def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    with Server(tmp_path, **ONE_MODEL, ZIGGURAT_DRAIN_SECONDS="600") as server:
        workers = _workers(server)
        server.process.terminate()
        with pytest.raises(TimeoutError):
            _wait_gone(workers, 1)
        server.process.terminate()
        assert server.process.wait(60) == 128 + signal.SIGTERM
        _wait_gone(workers, 60)


def test_workers_finish_when_their_supervisor_has_gone(tmp_path: Path) -> None:
    with Server(tmp_path, **ONE_MODEL) as server:
        workers = _workers(server)
        server.process.kill()
        _wait_gone(workers, 120)
    assert not _sockets(server)


def _sockets(server: Server) -> list[Path]:
    """Folders that a supervisor has made, and not removed."""
    return list(Path(tempfile.gettempdir()).glob(f"ziggurat-{server.process.pid}-*"))


def _wait_gone(processes: list[psutil.Process], seconds: float) -> None:
    if psutil.wait_procs(processes, timeout=seconds)[1]:
        raise TimeoutError


def test_a_worker_that_dies_again_and_again_at_its_start_ends_the_service(tmp_path: Path) -> None:
    prelude = (
        "import service.supervisor as s; s._RETRY_SECONDS = 0.01\n"
        "import service.engine.loaded as l\n"
        "def broken(self): raise OSError('no such weights')\n"
        "l.Models.load = broken"
    )
    server = Server(tmp_path, prelude=prelude, **ONE_MODEL)
    assert server.process.wait(60) == 1
    log = (tmp_path / "server.log").read_text()
    assert "ziggurat: no such weights" in log
    assert "dies again and again" in log
    assert "Traceback" not in log
    assert "Broken pipe" not in log
    assert not _sockets(server)
