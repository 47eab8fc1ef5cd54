"""An album of any size keeps its budget, whatever the service's limits are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from ziggurat import Client, errors

from tests.client.conftest import ALBUM_IMAGES, MAX_PIXELS
from tests.client.scripted import Scripted, problem


def test_one_request_does_for_a_few_images(client: Client, folder: Path, photo: Image.Image) -> None:
    album = client.allocate([folder / "photo.jpg", photo], budget_bpp=0.4, effort=1, metric="psnr")
    assert album.parts == 1
    assert album.metric == "psnr"
    assert album.target_met
    assert album.bytes <= album.budget_bytes == int(0.4 * 2 * 128 * 96 / 8)
    assert [stream.file for stream in album.streams] == ["photo.zgt", "image.zgt"]
    assert client.stream(album.streams[0].id) == album.streams[0].data


def test_more_images_than_may_share_a_request_are_sent_in_parts(client: Client, photo: Image.Image) -> None:
    images = [photo.rotate(90 * turn, expand=True) for turn in range(4)] * 2
    assert len(images) > 2 * ALBUM_IMAGES
    album = client.allocate(images, budget_bytes=5000)
    assert album.parts > 2
    assert 0.95 * 5000 <= album.bytes <= album.budget_bytes == 5000
    assert [(stream.width, stream.height) for stream in album.streams] == [image.size for image in images]
    assert len({stream.file for stream in album.streams}) == len(images)


def test_more_pixels_than_may_be_in_a_request_are_sent_in_parts(client: Client, photo: Image.Image) -> None:
    large = photo.resize((240, 160))
    assert large.width * large.height < MAX_PIXELS < 2 * large.width * large.height
    album = client.allocate([large, photo, large], budget_bpp=0.3)
    assert album.parts >= 2
    assert album.bytes <= album.budget_bytes
    assert album.bpp == pytest.approx(0.3, rel=0.03)


def test_stored_streams_are_sent_in_parts_too(client: Client, photo: Image.Image) -> None:
    ids = [client.compress(photo, max_bytes=size).id for size in range(700, 950, 50)]
    album = client.allocate_stored(ids, budget_bytes=2000)
    assert album.parts > 1
    assert 0.95 * 2000 <= album.bytes <= 2000
    assert len(album.streams) == len(ids)


def test_a_fault_of_one_image_is_told_as_it_is(client: Client, photo: Image.Image) -> None:
    with pytest.raises(errors.ImageTooLargeError):
        client.allocate([photo, Image.new("L", (400, 400))], budget_bpp=0.3)
    with pytest.raises(errors.UnsupportedImageError):
        client.allocate([photo, b"no image"], budget_bpp=0.3)
    with pytest.raises(errors.MalformedBodyError):
        client.allocate([photo, b""], budget_bpp=0.3)
    with pytest.raises(errors.NotStoredError):
        client.allocate_stored(["0" * 64] * 2, budget_bpp=0.3)
    with pytest.raises(errors.TargetMissedError):
        client.allocate([photo] * 5, budget_bytes=50, strict=True)


def test_what_is_no_album_is_not_sent(client: Client, photo: Image.Image) -> None:
    with pytest.raises(ValueError, match="no images"):
        client.allocate([], budget_bpp=0.3)
    for budgets in ({}, {"budget_bpp": 0.3, "budget_bytes": 1000}):
        with pytest.raises(ValueError, match="exactly one"):
            client.allocate([photo], **budgets)  # type: ignore[arg-type]


class Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_what_can_be_sent_once_is_not_sent_in_parts(scripted: Scripted, photo: Image.Image) -> None:
    scripted.replies = [problem(413, "body-too-large")]
    with Client(scripted.url) as client, pytest.raises(errors.BodyTooLargeError):
        client.allocate([photo, Pipe(b"x")], budget_bpp=0.3)
    assert len(scripted.received) == 1


def test_a_refusal_for_another_reason_ends_it(scripted: Scripted, photo: Image.Image) -> None:
    scripted.replies = [problem(422, "invalid-request")]
    with Client(scripted.url) as client, pytest.raises(errors.InvalidRequestError):
        client.allocate([photo] * 8, budget_bpp=0.3)
    assert len(scripted.received) == 1
