"""A real server, and a real Chromium that looks at its page.

Whatever a test does, the page must write no error to the console and ask nobody but the service.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.end_to_end.servers import Server

KEY = "a-key-of-ours-that-is-long"
LARGE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None or find_spec("playwright") is None:
        reason = "no chromium, or no playwright: apt-get install chromium, pip install .[test]"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its sandbox does not work for root, whom containers have.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service without keys."""
    with Server(tmp_path_factory.mktemp("web"), ZIGGURAT_MAX_PIXELS="600000") as server:
        yield f"http://{server.address}/"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with a key, which keeps streams for a week."""
    settings = {
        "ZIGGURAT_API_KEYS": KEY,
        "ZIGGURAT_LINK_SECRETS": "a-secret-of-ours-of-32-characters",
        "ZIGGURAT_STORE_MAX_AGE_SECONDS": "604800",
        "ZIGGURAT_MODELS": "psnr",
        "ZIGGURAT_PROFILE": "psnr",
    }
    with Server(tmp_path_factory.mktemp("guarded"), **settings) as server:
        yield f"http://{server.address}/"


class Visits:
    """Opens pages in windows of their own, and notes what they should not do."""

    def __init__(self, browser: Any, server: str) -> None:
        self._browser = browser
        self._server = server
        self._contexts: list[Any] = []
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.expected = 0  # console lines of answers that are no success: the browser writes them itself

    def open(self, path: str = "", *, size: Any = LARGE, scheme: str = "light", server: str = "") -> Any:
        address = server or self._server
        phone = size["width"] < 600
        context = self._browser.new_context(
            viewport=size, color_scheme=scheme, has_touch=phone, is_mobile=phone, accept_downloads=True
        )
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.set_default_timeout(30_000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._read)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._note(request.url, address))
        page.goto(address + path)
        page.wait_for_selector("#privacy:not(:empty), .operation")
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _read(self, line: Any) -> None:
        if line.type == "error":
            self.errors.append(line.text)

    def _note(self, url: str, address: str) -> None:
        if not url.startswith((address, f"blob:{address}")):
            self.strangers.append(url)


@pytest.fixture
def visits(browser: Any, server: str) -> Iterator[Visits]:
    with _watched(Visits(browser, server)) as visits:
        yield visits


@contextmanager
def _watched(visits: Visits) -> Iterator[Visits]:
    try:
        yield visits
    finally:
        visits.close()
    refused = [text for text in visits.errors if text.startswith("Failed to load resource")]
    assert [text for text in visits.errors if text not in refused] == []
    assert len(refused) == visits.expected
    assert visits.strangers == []


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes small image files: a part of the first demonstration picture."""
    folder = tmp_path_factory.mktemp("pictures")
    demo = Path(__file__).parents[2] / "service/web/demo/coffee.jpg"

    def make(name: str, left: int = 200, width: int = 128, height: int = 96) -> Path:
        path: Path = folder / name
        if not path.exists():
            with Image.open(demo) as image:
                image.crop((left, 100, left + width, 100 + height)).save(path)
        return path

    return make
