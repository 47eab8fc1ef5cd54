"""Imports point one way, and the tests mirror the modules: a file's test is found by its name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("models", "service", "client")

# Modules without a test file of their own, and where their tests are.
TESTED_ELSEWHERE = {
    "models/training/__main__.py": "tests/models/training/test_commands.py",  # has no importable name
}

# Tests of several modules together, and of which.
TESTS_OF_SEVERAL = {
    "tests/client/test_examples.py": "the pages about the client, typed against a service",
    "tests/client/test_installed.py": "the wheel, in an environment of its own",
    "tests/models/training/test_commands.py": "the training commands, one after the other",
    "tests/service/store/test_over_http.py": "settings, store and routes",
}


def modules() -> set[str]:
    """Every module but the faces of packages."""
    return {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }


def mirror(module: str) -> str:
    path = Path("tests") / module
    return str(path.with_name(f"test_{path.name}"))


def test_the_import_contracts_hold() -> None:
    """In a process of its own: import-linter turns off every logger that there is."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "6 kept, 0 broken" in done.stdout


def test_every_module_has_a_test_of_its_name() -> None:
    without = {module for module in modules() if not (ROOT / mirror(module)).is_file()}
    assert sorted(without - set(TESTED_ELSEWHERE)) == []


def test_every_test_has_a_module_of_its_name() -> None:
    tests = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / "tests" / package).rglob("test_*.py")
    }
    without = tests - {mirror(module) for module in modules()}
    assert sorted(without - set(TESTS_OF_SEVERAL)) == []


def test_the_exceptions_are_still_needed() -> None:
    for module, test in TESTED_ELSEWHERE.items():
        assert (ROOT / module).is_file(), module
        assert (ROOT / test).is_file(), test
        assert not (ROOT / mirror(module)).is_file(), f"{module} has a test of its own now"
    for test in TESTS_OF_SEVERAL:
        assert (ROOT / test).is_file(), test
