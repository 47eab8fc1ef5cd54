"""Examples on the pages work: Python, `ziggurat`, make, `python -m`; curl by OpenAPI."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import typer
from PIL import Image

from service.app import create_app
from service.cli import app, main
from service.settings import Settings
from tests.docs.pages import DOCS, PAGES, ROOT, Page

GROUP: Any = typer.main.get_command(app)
COMMANDS: set[str] = set(GROUP.commands)
SHOWN = [command for page in PAGES for command in page.commands()]
ZIGGURAT = [
    found.groups()
    for command in SHOWN
    if (found := re.fullmatch(r"(?:\w+=\S+ )*ziggurat (\w+)(.*)", command))
]
CURL = [command for command in SHOWN if command.startswith("curl ")]
PATHS: dict[str, dict[str, Any]] = create_app(Settings()).openapi()["paths"]
SENDS_A_BODY = {"--data-binary", "-F", "--json"}


# Those that call a service are run in tests/client.
PYTHON = [
    page for page in PAGES if page.blocks("python") and "localhost" not in "".join(page.blocks("python"))
]


@pytest.mark.parametrize("page", PYTHON, ids=str)
def test_python_examples_run(
    page: Page, photo: Image.Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"image": photo}  # the examples of a page are one session
    for example in page.blocks("python"):
        exec(compile(example, str(page), "exec"), names)
    assert names["image"].size == photo.size


def test_the_commands_shown_are_the_commands_there_are() -> None:
    assert {command for command, _ in ZIGGURAT} == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_options_shown_exist(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])  # serve has more options than click knows
    known = set(re.findall(r"--?[a-z-]+", capsys.readouterr().out)) | _options(command)
    for shown in (options for name, options in ZIGGURAT if name == command):
        assert set(re.findall(r"(?<= )--?[a-z-]+", shown)) <= known, shown


@pytest.mark.parametrize("command", sorted(COMMANDS - {"serve"}))  # its options are the settings
def test_every_option_is_described(command: str) -> None:
    options = _options(command)
    described = re.findall(r"`(--?[a-z-]+)", Page(DOCS / "cli.md").section(f"## {command}"))
    assert {name for name in options - {"--help"} if name.startswith("--")} <= set(described)
    assert set(described) <= options


def test_the_make_targets_shown_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    typed = [*SHOWN, *(code for page in PAGES for code in page.inline_code())]
    shown = {found[1] for command in typed if (found := re.match(r"make (\w+)", command))}
    assert {"serve", "test", "setup", "docs"} <= shown <= targets


def test_the_modules_shown_exist() -> None:
    typed = [*SHOWN, *(code for page in PAGES for code in page.inline_code())]
    modules = {found[1] for command in typed if (found := re.search(r"python -m ([\w.]+)", command))}
    assert len(modules) > 10
    for module in modules:
        assert importlib.util.find_spec(module), module


@pytest.mark.parametrize("command", CURL)
def test_curl_calls_what_there_is(command: str) -> None:
    arguments = shlex.split(command)
    (url,) = (argument for argument in arguments if "localhost:8000" in argument)
    assert "--fail-with-body" in arguments, "or a problem would be saved as if it were the answer"
    called = urlsplit(url if "://" in url else f"http://{url}")
    method = "POST" if SENDS_A_BODY & set(arguments) else "GET"
    if "-X" in arguments:
        method = arguments[arguments.index("-X") + 1]

    operation = _operation(method, called.path)
    declared = [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    parameters = {parameter["name"]: parameter["schema"] for parameter in declared}
    for name, (value,) in parse_qs(called.query, strict_parsing=bool(called.query)).items():
        assert name in parameters
        assert value in parameters[name].get("enum", [value])


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_example_of_a_page_writes_over_anothers_result(page: Page) -> None:
    """They are typed one after the other. `ziggurat` replaces a stream that is named, and else
    refuses.
    """
    written: set[str] = set()
    for command in page.commands():
        found = re.match(r"(ziggurat|curl) .* -o (\S+)", command)
        if found and not found[2].endswith(".zgt"):
            assert found[1] == "curl" or found[2] not in written, command
            written.add(found[2])


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_curl_fails_with_the_server_wherever_it_is_shown(page: Page) -> None:
    shown = [
        line for line in page.text.splitlines() if re.search(r"\bcurl .*(localhost|127\.0\.0\.1|//)", line)
    ]
    assert [line for line in shown if "--fail-with-body" not in line] == []


def _operation(method: str, path: str) -> dict[str, Any]:
    for template, operations in PATHS.items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            found: dict[str, Any] = operations[method.lower()]
            return found
    raise AssertionError(f"there is no {path}")


def _options(command: str) -> set[str]:
    """The options of a command, or of all commands of a group."""
    found = GROUP.commands[command]
    commands = [found, *getattr(found, "commands", {}).values()]
    parameters = [parameter for each in commands for parameter in each.params]
    return {
        name
        for parameter in parameters
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
