from __future__ import annotations

import asyncio

import pytest

from service.http.multipart import Form, MalformedBodyError

FILE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
TYPE = "multipart/form-data; boundary=x"


def part(disposition: bytes, content: bytes = b"content") -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + content + b"\r\n"


def read(
    body: bytes, content_type: str = TYPE, *, max_files: int = 2, chunk: int = 1000
) -> list[tuple[str, bytes]]:
    form = Form(content_type, max_files=max_files)
    for start in range(0, len(body), chunk):
        form.feed(body[start : start + chunk])
    return [(name, asyncio.run(pieces.joined())) for name, pieces in form.finish()]


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_files_come_whole_and_in_order_however_the_body_is_cut(chunk: int) -> None:
    contents = [b"\r\n--\r\n-x no, --x neither\r\n-", bytes(range(256)) * 400]
    body = b"".join(
        (
            part(b'name="file"; filename="a.png"', contents[0]),
            part(b'name="other"', b"a field"),
            part(b'filename="b \\"2\\".png"; name="file"', contents[1]),
            b"--x--\r\nan epilogue",
        )
    )
    assert read(body, chunk=chunk) == [("a.png", contents[0]), ('b "2".png', contents[1])]


def test_a_file_needs_no_name() -> None:
    """curl -F 'file=<photo.jpg' sends none."""
    assert read(part(b"name=file", b"\xff\xd8\xff") + b"--x--") == [("", b"\xff\xd8\xff")]


def test_a_forgotten_at_sign_is_told() -> None:
    with pytest.raises(MalformedBodyError, match=r"text 'photo.jpg'.*-F file=@photo.jpg"):
        read(part(b'name="file"', b"photo.jpg") + b"--x--")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (FILE + b"half", "cut off"),
        (FILE + b"all\r\n--x", "cut off"),
        (b"", "cut off"),
        (b"nonsense", "no multipart"),
        (part(b'name="other"') + b"--x--", "named `file`"),
        (part(b'filename="a.png"') + b"--x--", "no name"),
        (FILE + b"\r\n--x--", "empty"),
        (3 * (FILE + b"a\r\n") + b"--x--", "more than 2 files"),
        (17 * part(b'name="a"', b"") + b"--x--", "more than 16 fields"),
        (part(b'name="a"', bytes(4097)) + b"--x--", "more than 4096 bytes"),
        (b"--x\r\n" + b"a: b\r\n" * 1000, "no multipart"),
        (b"--x\r\na: " + b"b" * 100_000, "no multipart"),
        (part(b'name="\xff"') + b"--x--", "not utf-8"),
    ],
)
def test_what_is_wrong_is_told(body: bytes, words: str) -> None:
    with pytest.raises(MalformedBodyError, match=words):
        read(body)


@pytest.mark.parametrize("charset", ["punycode", "undefined", "idna", "utf-7", "nonsense", ""])
def test_names_in_a_codec_of_the_clients_choice_are_refused(charset: str) -> None:
    """Some take quadratic time, one always fails."""
    with pytest.raises(MalformedBodyError, match="charset"):
        Form(f"{TYPE}; charset={charset}", max_files=1)


@pytest.mark.parametrize(
    ("charset", "name"), [("UTF-8", b"\xc3\xa9"), ("iso-8859-1", b"\xe9"), ("us-ascii", b"e")]
)
def test_common_charsets_are_read(charset: str, name: bytes) -> None:
    body = part(b'name="file"; filename="' + name + b'"') + b"--x--"

    assert read(body, f"{TYPE}; charset={charset}")[0][0] in ("é", "e")


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'x' * 71}",
        TYPE + ';a="' + ";" * 60_000,
    ],
)
def test_a_content_type_needs_a_sound_boundary(content_type: str) -> None:
    with pytest.raises(MalformedBodyError, match="Content-Type"):
        Form(content_type, max_files=1)
