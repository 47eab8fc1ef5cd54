"""The first minutes of a user with curl, against a real server process. The command line's are in `tests/service/test_cli.py`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

Curl = Callable[..., str]


class Server:
    """`uvicorn service.app:create_app` on a free port, with a store of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._log = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--factory", "service.app:create_app", "--port", self.address.rpartition(":")[2]],
            env=os.environ | {"ZIGGURAT_STORE": str(folder / "store"), "ZIGGURAT_MAX_BODY_BYTES": "4000000"},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait_until_ready(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://{self.address}/readyz", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        self.__exit__()
        pytest.fail("the server did not start")

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)

    def __enter__(self) -> Server:
        self.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, photo: Image.Image) -> Path:
    folder = tmp_path_factory.mktemp("first-minutes")
    photo.save(folder / "photo.jpg", quality=95)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(folder) as server:
        yield server


@pytest.fixture
def curl(server: Server, folder: Path) -> Curl:
    """curl as a user would type it, in the folder of photo.jpg; `localhost:8000` stands for the server."""

    def run(*arguments: str) -> str:
        words = [word.replace("localhost:8000", server.address) for word in arguments]
        done = subprocess.run(["curl", "-sS", "--fail-with-body", *words], cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_first_minutes(curl: Curl, folder: Path) -> None:
    headers = curl(
        "--data-binary", "@photo.jpg", "-H", "Content-Type: image/jpeg", "localhost:8000/compress?bpp=0.5", "-D-", "-o", "photo.zgt"
    )  # fmt: skip
    assert headers.startswith("HTTP/1.1 201")
    assert "ziggurat-target-met: " in headers
    assert 8 * (folder / "photo.zgt").stat().st_size <= 0.5 * 128 * 96

    curl("-F", "file=@photo.jpg", "localhost:8000/compress?max_bytes=800&profile=psnr", "-o", "photo.zgt")
    assert (folder / "photo.zgt").stat().st_size <= 800

    facts = json.loads(curl("-F", "file=@photo.jpg", "-H", "Accept: application/json", "localhost:8000/compress?bpp=2&report=psnr,ms-ssim"))
    assert facts["psnr"] > 15
    assert facts["ms_ssim"] > 0.5

    curl(f"localhost:8000/decompress/{facts['id']}", "-o", "photo.png")
    curl("-H", "Accept: image/webp", f"localhost:8000/decompress/{facts['id']}", "-o", "photo.webp")
    for name, expected in {"photo.png": "PNG", "photo.webp": "WEBP"}.items():
        with Image.open(folder / name) as image:
            assert (image.format, image.size) == (expected, (128, 96))

    curl("--data-binary", "@photo.zgt", "-H", "Content-Type: image/vnd.ziggurat", "localhost:8000/decompress", "-o", "photo.png")
    with Image.open(folder / "photo.png") as image:
        assert image.size == (128, 96)

    assert 'ziggurat_requests_total{method="POST",route="/compress",status="201"} 3.0' in curl("localhost:8000/metrics")


def test_a_body_over_the_limit_is_answered_before_it_is_sent(server: Server, folder: Path) -> None:
    with (folder / "zeros").open("wb") as file:
        file.truncate(20_000_000)
    for sent in (["--data-binary", "@zeros"], ["-H", "Transfer-Encoding: chunked", "--data-binary", "@zeros"]):
        words = ["curl", "-sS", *sent, "-H", "Content-Type: image/png", f"{server.address}/compress?bpp=1"]
        problem = json.loads(subprocess.run(words, cwd=folder, capture_output=True, timeout=120, check=True).stdout)
        assert problem["type"] == "urn:problem-type:ziggurat:body-too-large"


def test_sigterm_finishes_what_was_accepted(folder: Path, tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        words = ["curl", "-sS", "-F", "file=@photo.jpg", f"{server.address}/compress?bpp=0.5", "-o", os.devnull, "-w", "%{http_code}"]
        clients = [subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) for _ in range(6)]
        while b"in_flight_requests 1.0" in (answer := _get(f"http://{server.address}/metrics")) and b'status="201"} 0.0' in answer:
            time.sleep(0.005)  # the one in flight is ours
        code = server.stop()
        answers = [client.communicate(timeout=60)[0] for client in clients]
    assert code in {0, -signal.SIGTERM}
    assert set(answers) <= {"201", "000"}, "answered in full, or never accepted"
    assert "201" in answers


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())
