"""The pages of the documentation as the tests see them: their code blocks, commands, headings and
links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(r"^( *)```([\w{}]*)[^\n]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file. `text` is without comments, `prose` without code blocks too."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        """The file without HTML comments."""
        return re.sub(r"<!--.*?-->", "", self.path.read_text(), flags=re.DOTALL)

    @property
    def prose(self) -> str:
        """The text without code blocks."""
        return _BLOCK.sub("", self.text)

    def blocks(self, language: str) -> list[str]:
        """The code blocks in a language, in order."""
        return [code for _, found, code in _BLOCK.findall(self.text) if found == language]

    def commands(self) -> Iterator[str]:
        """Commands that console blocks show, without the comment behind each."""
        for block in self.blocks("console"):
            for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
                yield re.sub(r"\s+#\s.*", "", line)

    def inline_code(self) -> list[str]:
        """Text between backticks in the prose."""
        return re.findall(r"`([^`\n]+)`", self.prose)

    def links(self) -> list[str]:
        """Targets of links and images."""
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    def anchors(self) -> set[str]:
        """The anchors of its headings, as GitHub and the builder make them."""
        return {slug(heading) for heading in re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE)}

    def section(self, heading: str) -> str:
        """Text below a heading, up to the next of its level or above."""
        level = heading.partition(" ")[0]
        found = re.search(
            rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", self.text, re.DOTALL | re.MULTILINE
        )
        assert found, f"{self} has no heading {heading!r}"
        return found[1]


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


README = Page(ROOT / "README.md")
PAGES = [
    README,
    Page(ROOT / "CONTRIBUTING.md"),
    Page(ROOT / "docker" / "README.md"),
    Page(ROOT / "client" / "README.md"),
    *map(Page, sorted(DOCS.rglob("*.md"))),
]
