"""Where requests go, what they carry, and what becomes of a network's faults."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from PIL import Image
from ziggurat import Client
from ziggurat.errors import (
    ConnectionLostError,
    DamagedAnswerError,
    ForbiddenError,
    TimedOutError,
    UnauthorizedError,
    UnreachableError,
)
from ziggurat.version import VERSION

from tests.client.scripted import Reply, Scripted
from tests.end_to_end.servers import Server

MODELS = Reply(200, b"[]", {"Content-Type": "application/json"})


def test_the_environment_names_the_service_and_its_key(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.replies = [MODELS]
    monkeypatch.setenv("ZIGGURAT_URL", scripted.url + "/")
    monkeypatch.setenv("ZIGGURAT_API_KEY", "of-the-environment")
    with Client() as client:
        assert client.models() == ()
    # The environment's key is for the environment's service.
    with Client(scripted.url) as client:
        client.models()
    with Client(scripted.url, "own") as client:
        client.models()
        assert "own" not in f"{client} {client.connection}"
    keys = [request.headers.get("Authorization") for request in scripted.received]
    assert keys == ["Bearer of-the-environment", None, "Bearer own"]
    assert scripted.received[0].path == "/models"
    assert scripted.received[0].headers["User-Agent"] == f"ziggurat-client/{VERSION}"


@pytest.mark.usefixtures("no_service")
@pytest.mark.parametrize("url", [None, "", "localhost:8000", "ftp://localhost"])
def test_a_url_that_is_none_is_refused_with_what_to_do(url: str | None) -> None:
    with pytest.raises(ValueError, match="http://"):
        Client(url)


def test_a_key_is_cleaned_or_refused_and_never_shown() -> None:
    assert Client("http://localhost", " key\n").connection.api_key == "key"
    for key in ("ke\ny", "kläy"):
        with pytest.raises(ValueError, match="no key has") as refused:
            Client("http://localhost", key)
        assert key not in str(refused.value)


def test_a_path_before_the_services_own_is_kept(scripted: Scripted) -> None:
    scripted.replies = [MODELS]
    with Client(scripted.url + "/pictures/v1/") as client:
        client.models()
    assert scripted.received[0].path == "/pictures/v1/models"


def test_nobody_there() -> None:
    with socket.socket() as closed:  # bound, and not listening
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with Client(url, retries=0) as client, pytest.raises(UnreachableError, match="no connection to http"):
            client.models()


def test_a_connection_that_is_lost(scripted: Scripted) -> None:
    scripted.replies = [Reply(None)]
    with Client(scripted.url, retries=0) as client, pytest.raises(ConnectionLostError, match="was lost"):
        client.models()


def test_a_service_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Client(url, timeout=0.2) as client, pytest.raises(TimedOutError, match=r"0\.2 seconds"):
            client.models()


def test_an_answer_that_cannot_be_decoded(scripted: Scripted) -> None:
    scripted.replies = [Reply(200, b"not gzip", {"Content-Encoding": "gzip"})]
    with Client(scripted.url) as client, pytest.raises(DamagedAnswerError):
        client.models()


def test_a_key_opens_what_its_role_allows(tmp_path: Path, photo: Image.Image) -> None:
    key = "0123456789abcdef"
    with Server(tmp_path, ZIGGURAT_API_KEYS=f"{key}:read", ZIGGURAT_MODELS="ms-ssim") as server:
        url = f"http://{server.address}"
        with Client(url) as client:
            assert client.ready()
            with pytest.raises(UnauthorizedError):
                client.models()
        with Client(url, key) as client:
            assert client.models()
            with pytest.raises(ForbiddenError):
                client.compress(photo, bpp=0.5)
