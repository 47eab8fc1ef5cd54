"""The pages about the client, typed against a real service; every line of Python is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ziggurat.pillow
from PIL import Image

from tests.docs.pages import DOCS, ROOT, Page

PAGES = [Page(DOCS / "client.md"), Page(ROOT / "client" / "README.md")]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_examples_run(
    page: Page, service: str, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("imageio")  # in the extra `test`
    for photo in folder.iterdir():
        (tmp_path / photo.name).write_bytes(photo.read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}  # the examples of a page are one session
    try:
        for example in page.blocks("python"):
            code = example.replace("http://localhost:8000", service)
            exec(compile(code, str(page), "exec"), names)
    finally:
        names["client"].close()
        ziggurat.pillow.register_opener()
    with Image.open("photo.png") as picture:
        assert picture.size == (128, 96)
    assert 8 * Path("photo.zgt").stat().st_size <= 0.15 * 128 * 96
