"""Fixtures of the service's tests: an image file, and one app with the real codec for all."""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

from models.learned.codec import LearnedCodec
from models.postprocess import model as post_model
from models.weights import registry
from service import cli, logs
from service.app import create_app
from service.server import Server, bind
from service.settings import Settings
from service.workers import Board, Worker
from tests.post import install


@pytest.fixture(scope="session")
def jpeg(photo: Image.Image) -> bytes:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture(scope="session")
def post_processors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small random post-processors in a folder: real, but not trained."""
    folder: Path = tmp_path_factory.mktemp("postprocess")
    with _weights_in(folder):
        install(finest=0.2)
        install("psnr", (registry.card("psnr").model_id,), finest=0.3)
    return folder


@contextmanager
def _weights_in(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(post_model, "WEIGHTS", folder)
        yield


@pytest.fixture(scope="module", autouse=True)
def _post_processors(post_processors: Path) -> Iterator[None]:
    """The small post-processors in place of the shipped ones, for the tests of this folder only:
    others of the same process may come next.
    """
    with _weights_in(post_processors):
        yield


@pytest.fixture(scope="session")
def codec(post_processors: Path) -> LearnedCodec:
    """The default model with the post-processors that the service has here."""
    with _weights_in(post_processors):
        return LearnedCodec.load()


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """As many threads as the tests' own codec has: float sums in the same order."""
    store: Path = tmp_path_factory.mktemp("store")
    return Settings(
        store=str(store),
        max_pixels=1_000_000,
        max_body_bytes=2_000_000,
        threads=torch.get_num_threads(),
        delete_without_keys=True,
    )


@pytest.fixture(scope="session")
def client(settings: Settings, post_processors: Path) -> Iterator[TestClient]:
    """A client of a running app with both real models."""
    with ExitStack() as running:
        with _weights_in(post_processors):
            client = running.enter_context(TestClient(create_app(settings)))
        yield client


class Live:
    """A real server in a thread of this process, so that its app can be looked into."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)
        self._ready = threading.Event()
        self._listener = bind("127.0.0.1", 0)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._server = Server(self.app, settings, on_ready=self._ready.set)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    def metric(self, name: str, **labels: str) -> float:
        value = self.app.state.runtime.metrics.registry.get_sample_value(f"ziggurat_{name}", labels)
        assert value is not None, name
        return float(value)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "nothing came of it"
            time.sleep(0.01)

    def __enter__(self) -> Live:
        self._thread.start()
        assert self._ready.wait(120)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(60)
        self._listener.close()


@pytest.fixture(scope="session")
def live() -> Callable[[Settings], Live]:
    return Live


class Log:
    """JSON lines of all loggers and levels, as the service writes them."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def lines(self) -> list[dict[str, Any]]:
        """Every line so far but those of the client and its event loop."""
        parsed = map(json.loads, self.stream.getvalue().splitlines())
        return [line for line in parsed if line["logger"] not in ("asyncio", "httpx2")]


@pytest.fixture
def log() -> Iterator[Log]:
    """The log of this test alone; afterwards the loggers are as they were."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    level = root.level
    log = Log()
    logs.configure("json", "debug", log.stream)
    yield log
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal:
    """Runs the command in this process; keeps what the last run printed."""

    def __init__(self, captured: pytest.CaptureFixture[str]) -> None:
        self._captured = captured
        self.out = self.err = ""

    def run(self, *arguments: object) -> int:
        self._captured.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main([str(argument) for argument in arguments])
        self.out, self.err = self._captured.readouterr()
        assert "Traceback" not in self.err
        assert isinstance(left.value.code, int)
        return left.value.code


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str]) -> Terminal:
    return Terminal(capsys)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Callable[[int], list[Worker]]]:
    """Makes workers that know of each other, all in this process; their listeners listen."""
    with ExitStack() as opened:

        def make(count: int) -> list[Worker]:
            board = Board(count)
            made = []
            for index in range(count):
                listener = opened.enter_context(socket.socket(socket.AF_UNIX))
                listener.bind(str(tmp_path / str(index)))
                listener.listen()
                ends = [opened.enter_context(end) for end in socket.socketpair()]
                made.append(Worker(index, board, tmp_path, listener, ends[0]))
            return made

        yield make
