"""Build docs/ into site/ with Sphinx: `make docs`.

Plain Markdown, so that pages read by themselves.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = "Ziggurat"
version = PROJECT["version"]
release = version
language = "en"

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4  # anchors as GitHub makes them, so that a link works here and there

html_theme = "furo"
html_title = f"Ziggurat {version}"
html_copy_source = False
html_show_sphinx = False
