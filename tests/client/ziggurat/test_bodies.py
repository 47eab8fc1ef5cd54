"""Whatever a caller gives is sent as it is, a piece at a time, and again where it can be."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ziggurat.bodies import CHUNK_BYTES, body_of, multipart, of_bytes

CONTENT = bytes(range(256)) * (CHUNK_BYTES // 100)


class Pipe(io.BytesIO):
    """A file that can be read once."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


def read(body_source: object) -> bytes:
    return b"".join(body_of(body_source).open())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO, Pipe])
def test_bytes_and_files_are_sent_as_they_are(kind: type) -> None:
    assert read(kind(CONTENT)) == CONTENT


def test_a_file_is_read_in_pieces_as_often_as_needed(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(CONTENT)
    for source in (path, str(path)):
        body = body_of(source)
        assert (body.length, body.repeatable, body.name) == (len(CONTENT), True, "photo.jpg")
        for _ in range(2):
            chunks = list(body.open())
            assert b"".join(chunks) == CONTENT
            assert max(map(len, chunks)) == CHUNK_BYTES


def test_a_missing_file_is_found_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        body_of(tmp_path / "nothing.jpg")


def test_an_open_file_is_sent_from_where_it_stands() -> None:
    file = io.BytesIO(CONTENT)
    file.seek(100)
    body = body_of(file)
    assert body.length == len(CONTENT) - 100
    for _ in range(2):
        assert b"".join(body.open()) == CONTENT[100:]


def test_a_pipe_is_sent_once_and_its_length_is_not_known() -> None:
    body = body_of(Pipe(CONTENT))
    assert (body.length, body.repeatable) == (None, False)


def test_a_file_of_text_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    with (tmp_path / "text").open() as file, pytest.raises(TypeError, match="'rb'"):
        read(file)


@pytest.mark.parametrize("source", [None, 3, ["photo.jpg"]])
def test_anything_else_is_refused(source: object) -> None:
    with pytest.raises(TypeError, match="give a path, bytes"):
        body_of(source)  # type: ignore[arg-type]


def test_an_image_and_an_array_are_sent_without_loss(photo: Image.Image) -> None:
    for source in (photo, np.asarray(photo)):
        body = body_of(source)
        assert body.media_type == "image/png"
        with Image.open(io.BytesIO(b"".join(body.open()))) as sent:
            assert np.array_equal(np.asarray(sent), np.asarray(photo))


def test_a_form_has_every_file_with_its_name() -> None:
    parts = [of_bytes(b"one", name='a"\r\n.jpg'), of_bytes(b"two", name="zweites-ä.jpg")]
    body = multipart(parts)
    sent = b"".join(body.open())
    assert body.length == len(sent)
    assert body.repeatable
    boundary = body.media_type.partition("boundary=")[2].encode()
    assert sent.split(b"\r\n")[0] == b"--" + boundary
    assert b'name="file"; filename="a%22%0D%0A.jpg"' in sent
    assert 'filename="zweites-ä.jpg"'.encode() in sent
    assert sent.endswith(b"\r\ntwo\r\n--" + boundary + b"--\r\n")
    assert multipart([*parts, body_of(Pipe(b"three"))]).length is None
    assert not multipart([*parts, body_of(Pipe(b"three"))]).repeatable
