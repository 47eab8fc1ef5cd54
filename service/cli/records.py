"""Records of what a command made of a folder, so that the next run goes on from there.

Each folder of results has one, `.ziggurat.jsonl`. A result counts as finished while it is as it was
written, and its source and the options are still the same.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

import service

NAME = ".ziggurat.jsonl"


@dataclass(frozen=True, slots=True)
class Result:
    """A file that was written.

    Attributes:
        name: of the file, in the record's folder.
        recipe: of `recipe`.
        sha256: of the file's content.
    """

    name: str
    recipe: str
    sha256: str


def recipe(source: bytes, *options: object) -> str:
    """The SHA-256 of all that a result depends on: the source's bytes, the options, our version.

    Args:
        source: content of the source's file.
        options: the command and what it was asked for; their texts count.
    """
    made_of = [hashlib.sha256(source).hexdigest(), service.__version__, *map(str, options)]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


class Records:
    """The records of all folders that a run writes to; each is read when it is first asked for.
    Several threads may share them.

    A line that a crash cut off, or of another version, counts as not written.

    Args:
        keep: False knows and remembers nothing: a single file cannot be half done.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._folders: dict[Path, dict[str, Result]] = {}
        self._changing = threading.Lock()

    def is_ours(self, target: Path) -> bool:
        """Tell whether a file is a result of an earlier run, and unaltered."""
        known = self._of(target.parent).get(target.name)
        return known is not None and target.is_file() and _sha256(target.read_bytes()) == known.sha256

    def is_finished(self, target: Path, recipe: str) -> bool:
        """Tell whether a file is what this recipe makes."""
        known = self._of(target.parent).get(target.name)
        return known is not None and known.recipe == recipe and self.is_ours(target)

    def add(self, target: Path, recipe: str, content: bytes) -> None:
        """Remember a result, on the disk too.

        To be called before it is written: a result that no record knows would not be replaced by
        the next run.
        """
        if not self._keep:
            return
        result = Result(target.name, recipe, _sha256(content))
        self._of(target.parent)[target.name] = result
        target.parent.mkdir(parents=True, exist_ok=True)
        # A line break on either side: this line stands alone even behind one that a crash cut off.
        with self._changing, (target.parent / NAME).open("a") as file:
            file.write(f"\n{json.dumps(asdict(result))}\n")

    def _of(self, folder: Path) -> dict[str, Result]:
        with self._changing:
            if folder not in self._folders:
                self._folders[folder] = dict(_read(folder / NAME)) if self._keep else {}
        return self._folders[folder]


def _read(path: Path) -> list[tuple[str, Result]]:
    results = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            result = Result(**json.loads(line))
        except (ValueError, TypeError):
            continue
        results.append((result.name, result))
    return results


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
