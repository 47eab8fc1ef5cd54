"""The pages hang together: links and anchors resolve, named files exist, the builder is content."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, README, ROOT, Page

PROSE_COLUMNS = 100
README_LINES = 150
SOURCES = re.compile(r"(?:models|service|client|docker|benchmarks|docs|tests)/[\w./-]+")
every_page = pytest.mark.parametrize("page", PAGES, ids=str)


@every_page
def test_links_and_anchors_resolve(page: Page) -> None:
    for link in page.links():
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), link
        if anchor:
            assert anchor in Page(target).anchors(), link


@every_page
def test_files_that_are_named_exist(page: Page) -> None:
    for code in page.inline_code():
        if SOURCES.fullmatch(code):
            assert (ROOT / code).exists(), code


@every_page
def test_prose_is_wrapped(page: Page) -> None:
    for line in page.prose.splitlines():
        assert len(line) <= PROSE_COLUMNS or line.startswith(("|", "![")), line


def test_the_readme_is_short() -> None:
    assert len(README.path.read_text().splitlines()) <= README_LINES


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("sphinx") is None:
        message = "Sphinx is not installed: make setup"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    # The interpreter that runs the tests, already set up, in place of the Makefile's own.
    made_from = [f"BIN={Path(sys.executable).parent}", "READY=", f"SITE={tmp_path}"]
    done = subprocess.run(["make", "docs", *made_from], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    for page in PAGES:
        if page.path.is_relative_to(ROOT / "docs"):
            assert (tmp_path / page.path.relative_to(ROOT / "docs").with_suffix(".html")).exists()
