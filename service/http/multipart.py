"""Multipart forms (RFC 7578), of which only the files in fields `file` are kept, in memory.

The parser is python-multipart's, which limits the headers of each part. Here are the limits on what
it finds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from .pieces import Pieces

MEDIA_TYPE = "multipart/form-data"

_MAX_CONTENT_TYPE = 1024  # characters
_MAX_BOUNDARY = 70  # bytes (RFC 2046, 5.1.1)
_MAX_FIELDS = 16  # beside the files
_MAX_FIELD_BYTES = 4 * 1024
_CHARSETS = {"utf-8": "utf-8", "utf8": "utf-8", "iso-8859-1": "latin-1", "latin-1": "latin-1"} | {
    "latin1": "latin-1",
    "us-ascii": "ascii",
    "ascii": "ascii",
}


class MalformedBodyError(Exception):
    """A body that is empty, or multipart and broken or without its `file`."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file from a multipart body: its content, and the client's name for it, unchecked."""

    name: str
    content: bytes


@dataclass(slots=True)
class _Part:
    """A part on its way. Its content is kept when it is a file, and measured when it is not."""

    name: str = ""
    file_name: str | None = None
    disposition: bytes = b""
    content: Pieces = field(default_factory=Pieces)
    size: int = 0

    @property
    def is_file(self) -> bool:
        return self.name == "file"


class Form:
    """Takes a multipart body as it comes, and gives its files at the end.

    Args:
        content_type: the request's Content-Type.
        max_files: in fields `file`.

    Raises:
        MalformedBodyError: the Content-Type has no sound boundary, or another charset than UTF-8,
            Latin-1 or ASCII.
    """

    def __init__(self, content_type: str, *, max_files: int) -> None:
        if len(content_type) > _MAX_CONTENT_TYPE:
            raise MalformedBodyError(f"the Content-Type has more than {_MAX_CONTENT_TYPE} characters")
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= _MAX_BOUNDARY:
            raise MalformedBodyError(
                "the Content-Type of a multipart body must name its boundary, of at most "
                f"{_MAX_BOUNDARY} bytes"
            )
        charset = options.get(b"charset", b"utf-8").decode("latin-1").lower()
        if charset not in _CHARSETS:
            raise MalformedBodyError(f"the charset {charset[:40]!r} is not UTF-8, Latin-1 or ASCII")
        self._charset = _CHARSETS[charset]
        self._max_files = max_files
        self._files: list[_Part] = []
        self._fields = 0
        self._part = _Part()
        self._header = bytearray()
        self._value = bytearray()
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._take_name,
                "on_header_value": self._take_value,
                "on_header_end": self._take_header,
                "on_headers_finished": self._describe,
                "on_part_data": self._take_content,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Take the body's next bytes.

        Raises:
            MalformedBodyError: they are no multipart body, or one that is over a limit.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise MalformedBodyError(f"this is no multipart body: {str(error)[:100]}") from error

    @contextmanager
    def dropped_on_error(self) -> Iterator[None]:
        """Let go of all content when the body of the `with` fails; see `Pieces`."""
        try:
            yield
        except BaseException:
            for part in self._files:
                part.content.clear()
            raise

    def finish(self) -> list[tuple[str, Pieces]]:
        """Give the files, in order: the client's name for each, and its content.

        Raises:
            MalformedBodyError: the body is cut off, or has no file.
        """
        if not self._ended:
            raise MalformedBodyError("the multipart body is cut off: its closing boundary is missing")
        if not self._files:
            raise MalformedBodyError("a multipart body needs its file in a field named `file`")
        for part in self._files:
            _check(part)
        return [(part.file_name or "", part.content) for part in self._files]

    def _begin(self) -> None:
        self._part = _Part()

    def _take_name(self, chunk: bytes, start: int, end: int) -> None:
        self._header += chunk[start:end]

    def _take_value(self, chunk: bytes, start: int, end: int) -> None:
        self._value += chunk[start:end]

    def _take_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._part.disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _describe(self) -> None:
        _, options = parse_options_header(self._part.disposition)
        if b"name" not in options:
            raise MalformedBodyError("a part of the multipart body has no name in its Content-Disposition")
        self._part.name = self._decoded(options[b"name"])
        if b"filename" in options:
            self._part.file_name = self._decoded(options[b"filename"])
        if self._part.is_file:
            self._files.append(self._part)
            if len(self._files) > self._max_files:
                raise MalformedBodyError(f"there are more than {self._max_files} files")
        else:
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise MalformedBodyError(f"there are more than {_MAX_FIELDS} fields beside the files")

    def _decoded(self, text: bytes) -> str:
        try:
            return text.decode(self._charset)
        except UnicodeDecodeError as error:
            raise MalformedBodyError(f"a name in the multipart body is not {self._charset}") from error

    def _take_content(self, chunk: bytes, start: int, end: int) -> None:
        part = self._part
        part.size += end - start
        if part.is_file:
            part.content.add(chunk[start:end])
        elif part.size > _MAX_FIELD_BYTES:
            raise MalformedBodyError(
                f"the field {part.name[:40]!r} has more than {_MAX_FIELD_BYTES} bytes; a file belongs in "
                "the field `file`"
            )

    def _end(self) -> None:
        self._ended = True


def _check(part: _Part) -> None:
    """Tell an empty file, and the slip of curl -F file=photo.jpg, which sends those nine letters.

    A part without a file name is else taken for a file: curl -F 'file=<photo.jpg' sends one.
    """
    if not part.size:
        raise MalformedBodyError("the file is empty")
    text = part.content.beginning
    if part.file_name is None and part.size < 256 and text.isascii() and text.decode().isprintable():
        raise MalformedBodyError(
            f"the field `file` has the text {text[:40].decode()!r} and no file; "
            "with curl, a file is -F file=@photo.jpg"
        )
