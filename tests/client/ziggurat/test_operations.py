"""Every operation against a real service: what it gives is typed and true."""

from __future__ import annotations

import io
import math
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import ziggurat
from PIL import Image
from ziggurat import Client, errors
from ziggurat.operations import Format

from tests.client.conftest import ALBUM_IMAGES, MAX_PIXELS
from tests.client.scripted import Scripted, problem


@pytest.fixture(scope="session")
def compressed(client: Client, folder: Path) -> ziggurat.Compressed:
    return client.compress(folder / "photo.jpg", bpp=0.5, report=["psnr", "ms-ssim"])


def test_the_facts_of_a_stream_are_those_of_the_stream(compressed: ziggurat.Compressed) -> None:
    facts = ziggurat.inspect(compressed.data)
    for name in ("id", "bytes", "width", "height", "codec", "model_id", "quality"):
        assert getattr(compressed, name) == getattr(facts, name)
    assert compressed.bpp == pytest.approx(facts.bpp, abs=1e-6)
    assert compressed.bpp <= 0.5
    assert compressed.target_bpp == 0.5
    assert compressed.target_met
    assert compressed.profile == "visual"
    assert compressed.psnr is not None
    assert compressed.psnr > 15
    assert compressed.ms_ssim is not None
    assert 0.5 < compressed.ms_ssim < 1
    assert compressed.auto is None
    assert compressed.warnings == ()
    assert compressed.timings["device"] > 0
    assert compressed.request_id
    assert "data=" not in repr(compressed)


def test_a_file_its_bytes_and_its_pixels_make_one_stream(
    client: Client, folder: Path, photo: Image.Image
) -> None:
    path = folder / "photo.png"
    with path.open("rb") as file:
        sources: list[ziggurat.Source] = [path, str(path), path.read_bytes(), file, photo, np.asarray(photo)]
        ids = {client.compress(source, max_bytes=700).id for source in sources}
    assert len(ids) == 1


def test_codec_effort_and_quality(client: Client, photo: Image.Image) -> None:
    auto = client.compress(photo, bpp=0.5, codec="auto", profile="psnr", effort=1)
    assert auto.auto is not None
    assert auto.auto.metric == "psnr"
    assert math.isfinite(auto.auto.learned)
    assert auto.effort <= 1
    assert auto.profile == "psnr"
    fixed = client.compress(photo, quality=30)
    assert fixed.quality == pytest.approx(30, abs=0.01)
    assert fixed.target_bpp is None
    assert client.compress(photo, quality=30, report="psnr").psnr is not None


def test_a_budget_out_of_reach_is_told_and_refused_when_meant_strictly(
    client: Client, photo: Image.Image
) -> None:
    assert not client.compress(photo, max_bytes=30).target_met
    with pytest.raises(errors.TargetMissedError):
        client.compress(photo, max_bytes=30, strict=True)


def test_minima_are_reached_or_refused_when_meant_strictly(client: Client, photo: Image.Image) -> None:
    good = client.compress(photo, min_psnr=22, min_ssimulacra2=5, report="ms-ssim")
    assert good.target_met
    assert good.psnr is not None
    assert good.psnr >= 22
    assert good.ssimulacra2 is not None
    assert good.ssimulacra2 >= 5
    assert good.ms_ssim is not None
    assert not good.larger_than_source
    with pytest.raises(errors.TargetMissedError, match="nearest"):
        client.compress(photo, min_psnr=30, max_bytes=70, strict=True)


def test_the_service_tells_what_it_is(client: Client) -> None:
    info = client.service_info()
    assert info.limits.pixels == MAX_PIXELS
    assert info.limits.allocation_images == ALBUM_IMAGES
    assert info.can.delete
    assert {"jpg", "jpeg"} <= set(info.can.writes)
    loaded = {(model.name, model.model_id) for model in client.models() if model.loaded}
    assert {(model.name, model.model_id) for model in info.models} == loaded


def test_what_is_wrong_with_a_file_is_a_warning(client: Client, folder: Path) -> None:
    file = (folder / "photo.jpg").read_bytes()
    with pytest.warns(ziggurat.ImageWarning, match="left over behind the picture") as told:
        compressed = client.compress(file[:-2] + bytes(40) + file[-2:], bpp=0.5)
    assert [str(warning.message) for warning in told] == list(compressed.warnings)
    assert told[0].filename == __file__


FORMATS: dict[Format, str] = {"png": "PNG", "webp": "WEBP", "avif": "AVIF", "jpg": "JPEG"}


@pytest.mark.parametrize(("format", "name"), FORMATS.items())
def test_pictures_come_in_the_format_asked_for(
    client: Client, compressed: ziggurat.Compressed, format: Format, name: str, tmp_path: Path
) -> None:
    picture = client.decompress(compressed, format=format, postprocess="off")
    picture.save(tmp_path / "picture")
    with Image.open(tmp_path / "picture") as image:
        assert image.format == name
        assert image.size == (128, 96)
    assert picture.postprocess == "off"
    assert picture.media_type == f"image/{'jpeg' if format == 'jpg' else format}"


def test_a_stored_stream_is_had_in_every_way(
    client: Client, compressed: ziggurat.Compressed, tmp_path: Path
) -> None:
    compressed.save(tmp_path / "photo.zgt")
    sent = client.decompress(tmp_path / "photo.zgt").image()
    stored = client.decompress_stored(compressed.id).image()
    assert np.array_equal(np.asarray(sent), np.asarray(stored))
    assert client.stream(compressed.id) == compressed.data
    info, own = client.info(compressed.id), ziggurat.inspect(compressed.data)
    assert info.profile == "visual"
    assert info.quality == own.quality
    assert info.y_bytes == own.y_bytes
    assert client.exists(compressed.id)


def test_a_link_is_an_address_where_there_are_no_keys(
    client: Client, compressed: ziggurat.Compressed
) -> None:
    link = client.link(compressed.id, seconds=60)
    assert (link.picture_url, link.expires) == (compressed.url, None)
    with pytest.raises(errors.NotStoredError):
        client.link("0" * 64)


def test_what_is_deleted_is_gone(client: Client, photo: Image.Image) -> None:
    compressed = client.compress(photo, max_bytes=333)
    client.delete(compressed.id)
    assert not client.exists(compressed.id)
    with pytest.raises(errors.NotStoredError):
        client.info(compressed.id)


@pytest.mark.parametrize("stream_id", ["", "..", "../models", "photo.zgt", "A" * 64])
def test_what_is_no_id_is_not_sent(client: Client, stream_id: str) -> None:
    with pytest.raises(ValueError, match="64 hex digits"):
        client.stream(stream_id)


def test_enhance(client: Client, photo: Image.Image) -> None:
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=15)
    enhanced = client.enhance(file.getvalue())
    assert enhanced.source == "jpeg"
    assert 0 < enhanced.coarseness <= 1
    assert enhanced.postprocess.startswith("files/")
    assert enhanced.image().size == photo.size
    with pytest.raises(errors.SourceError):
        client.enhance(photo)  # pixels do not tell how coarse a file is


def test_models(client: Client) -> None:
    models = client.models()
    assert {model.name for model in models if model.kind == "codec"} == {"visual", "ms-ssim", "psnr"}
    assert [model.name for model in models if model.kind == "codec" and model.default] == ["visual"]
    assert client.ready()


def test_a_service_that_is_leaving_is_not_ready(scripted: Scripted) -> None:
    scripted.replies = [problem(503, "unavailable", Retry_After="30")]
    with Client(scripted.url) as client:
        assert not client.ready()  # at once: it is asked whether it is now


def test_a_stream_of_another_version_exists_all_the_same(scripted: Scripted) -> None:
    scripted.replies = [problem(422, "newer-stream")]
    with Client(scripted.url) as client:
        assert client.exists("0" * 64)


def test_errors_have_the_class_and_the_facts_of_their_problem(client: Client, photo: Image.Image) -> None:
    with pytest.raises(errors.InvalidRequestError) as invalid:
        client.compress(photo, bpp=0.5, effort=40)
    assert invalid.value.problem is not None
    assert [wrong.parameter for wrong in invalid.value.problem.errors] == ["effort"]
    assert invalid.value.problem.status == 422
    assert invalid.value.problem.request_id
    with pytest.raises(errors.TargetError):
        client.compress(photo)
    with pytest.raises(errors.UnsupportedImageError):
        client.compress(b"no image", bpp=0.5)
    with pytest.raises(errors.ImageTooLargeError):
        client.compress(Image.new("L", (1000, 1000)), bpp=0.5)
    with pytest.raises(errors.UnknownProfileError):
        client.compress(photo, bpp=0.5, profile="nothing")
    with pytest.raises(errors.NotAStreamError):
        client.decompress(b"no stream")
    with pytest.raises(errors.NotStoredError):
        client.stream(sha256(b"nothing").hexdigest())


class Pipe(io.FileIO):
    """A file whose length is not known beforehand."""

    def seekable(self) -> bool:
        return False


def test_a_body_over_the_limit_is_refused_while_it_is_sent(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(bytes(40_000_000))
    with pytest.raises(errors.BodyTooLargeError):
        client.compress(path, bpp=0.5)
    with Pipe(path) as pipe, pytest.raises(errors.BodyTooLargeError):
        client.compress(pipe, bpp=0.5)
