"""Write the table of docs/settings.md: `.venv/bin/python docs/generate_settings.py`."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic.fields import FieldInfo

from service.settings import Settings

PAGE = Path(__file__).parent / "settings.md"
BEGIN = "<!-- The table is written by docs/generate_settings.py. -->\n"
END = "<!-- End of the table. -->\n"


def table() -> str:
    """Make a Markdown table of all settings, in order: variable, default, description."""
    lines = ["| variable | default | |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        lines.append(f"| `ZIGGURAT_{name.upper()}` | {_default(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default_factory or field.default in (None, ()):
        return "unset"
    return f"`{','.join(field.default) if isinstance(field.default, tuple) else field.default}`"


def page(written: str) -> str:
    """The page with its table made anew."""
    return re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}",
        lambda _: f"{BEGIN}\n{table()}\n{END}",
        written,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
