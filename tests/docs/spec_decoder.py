"""The decoder that docs/stream-format.md spells out: its Python blocks, joined in the order of the
page.

Nothing of the codec is imported here, and the blocks may not import it either.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[2] / "docs" / "stream-format.md"
# Modules that the blocks may import.
ALLOWED = {"bisect", "hashlib", "json", "math", "numpy", "struct", "zlib"}


def source() -> str:
    """The blocks, every line at its number in the page, so that tracebacks point into the page."""
    inside = False
    lines = []
    for line in PAGE.read_text().splitlines():
        fence = line.startswith("```")
        lines.append(line if inside and not fence else "")
        inside = line == "```python" or (inside and not fence)
    return "\n".join(lines)


def imported() -> set[str]:
    """Names of the modules that the blocks import."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or ".")
    return names


@cache
def load() -> ModuleType:
    """The blocks as a module. Raises ImportError when they import more than `ALLOWED`."""
    if unknown := imported() - ALLOWED:
        raise ImportError(f"the blocks of {PAGE.name} import {unknown}")
    module = ModuleType("stream_format")
    exec(compile(source(), str(PAGE), "exec"), module.__dict__)
    return module
