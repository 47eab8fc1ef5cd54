from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.routes import page
from service.settings import Settings

WEB = Path(page.__file__).parents[1] / "web"
TYPES = {".css": "text/css", ".html": "text/html", ".jpg": "image/jpeg", ".js": "text/javascript"}
PAGES = ("/", "/docs")


class _Named(HTMLParser):
    """Everything that a page names, and whatever its policy would forbid."""

    def __init__(self) -> None:
        super().__init__()
        self.named: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.named += [given[name] or "" for name in ("src", "href") if given.get(name)]
        self.inline += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and not given.get("src")):
            self.inline.append(tag)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_only_what_is_served_here(client: TestClient, path: str) -> None:
    named = _Named()
    named.feed(client.get(path).text)

    assert named.inline == []
    assert [name for name in named.named if ":" in name or name.startswith("/")] == []
    assert {client.get(f"/{name.removeprefix('./')}").status_code for name in named.named} == {200}


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_no_script_but_its_own(client: TestClient, path: str) -> None:
    policy = client.get(path).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "name", [path.relative_to(WEB).as_posix() for path in sorted(WEB.rglob("*.*"))], ids=str
)
def test_every_file_is_served_and_asked_about_again(client: TestClient, name: str) -> None:
    answer = client.get(f"/web/{name}")
    etag = answer.headers["etag"]
    again = client.get(f"/web/{name}", headers={"If-None-Match": etag})

    assert (answer.status_code, answer.content) == (200, (WEB / name).read_bytes())
    if (suffix := Path(name).suffix) in TYPES:
        assert answer.headers["content-type"].startswith(TYPES[suffix])
    assert answer.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)


@pytest.mark.parametrize("name", ["nothing.js", "../app.py", "..%2fapp.py", "demo/", "demo", ""])
def test_other_files_are_not_served(client: TestClient, name: str) -> None:
    assert client.get(f"/web/{name}").status_code == 404


def test_modules_import_each_other_and_nothing_else() -> None:
    for path in WEB.glob("*.js"):
        for imported in re.findall(r'\bfrom "(.*?)"', path.read_text()):
            assert (WEB / imported).is_file(), f"{path.name} imports {imported}"


def test_our_javascript_is_small() -> None:
    assert sum(path.stat().st_size for path in WEB.glob("*.js")) < 60_000


def test_the_page_is_open_where_keys_are_set_and_says_so() -> None:
    settings = Settings.model_validate(
        {"store": "memory://", "api_keys": "a-key-of-ours-that-is-long", "models": "psnr", "profile": "psnr"}
    )
    with TestClient(create_app(settings)) as client:
        facts = client.get("/web/service.json").json()
        statuses = [client.get(path).status_code for path in (*PAGES, "/web/page.js", "/models")]
    assert statuses == [200, 200, 200, 401]
    assert (facts["needs_key"], facts["profiles"], facts["profile"]) == (True, ["psnr"], "psnr")
    assert "a-key-of-ours" not in str(facts)


def test_links_to_the_page_may_have_parameters_of_their_own(client: TestClient) -> None:
    assert client.get("/?from=a-letter").status_code == 200
