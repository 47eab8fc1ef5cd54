"""The plugin, as plugins of Pillow are tested: lazy, all modes, copies, threads, leaks, damage."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ziggurat
import ziggurat.pillow
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError
from ziggurat.pillow import ZigguratImageFile, register_opener

from models.bitstream import Bitstream
from models.codec import Codec
from tests.make_golden import GOLDEN
from tests.models.metadata import samples

ROOT = Path(__file__).parents[3]
Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True, params=["codec", "service"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test, with pixels by the codec and by the service."""
    if request.param == "service":
        register_opener(url=request.getfixturevalue("service"))
    yield request.param
    register_opener()


@pytest.fixture(scope="session")
def zgt(tmp_path_factory: pytest.TempPathFactory, photo: Image.Image) -> Path:
    path: Path = tmp_path_factory.mktemp("zgt") / "photo.zgt"
    path.write_bytes(Codec.load("ms-ssim").compress(photo, max_bytes=900).data)
    return path


@pytest.fixture(scope="session")
def pixels(zgt: Path) -> Pixels:
    return np.asarray(Codec.load("ms-ssim").decompress(zgt.read_bytes()))


def saved(image: Image.Image, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, "ZGT", **options)
    file.seek(0)
    return file


def near(image: Image.Image, expected: Pixels) -> bool:
    """Pixels agree to the rounding of floats, which in bfloat16 depends on the batch."""
    return int(np.abs(np.asarray(image, int) - expected).max()) <= 2


# Reading


def test_opening_reads_the_header_only() -> None:
    """In a process of its own: neither codec nor HTTP client nor NumPy is loaded."""
    code = f"""
import sys
from PIL import Image
Image.open({str(GOLDEN.parent / "photo.png")!r}).close()  # Pillow has its formats before ours
import ziggurat.pillow
image = Image.open({str(GOLDEN / "tiny-50.zgt")!r})
print(image.format, image.mode, image.size)
print([name for name in ("torch", "models", "numpy", "httpx2", "service") if name in sys.modules])
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "client"), str(ROOT)])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    size = ziggurat.inspect(GOLDEN / "tiny-50.zgt")
    assert done.stdout.splitlines() == [f"ZGT RGB ({size.width}, {size.height})", "[]"]


def test_loading_decodes(zgt: Path, pixels: Pixels) -> None:
    with Image.open(zgt) as image:
        assert isinstance(image, ZigguratImageFile)
        assert (image.size, image.mode) == ((128, 96), "RGB")
        facts = ziggurat.inspect(zgt)
        assert image.info["model_id"] == facts.model_id
        assert image.info["quality"] == facts.quality
        assert image.get_format_mimetype() == "image/vnd.ziggurat"
        assert near(image, pixels)


def test_it_is_registered() -> None:
    assert Image.registered_extensions()[".zgt"] == "ZGT"
    assert Image.MIME["ZGT"] == "image/vnd.ziggurat"
    assert Image.ID.count("ZGT") == 1  # however often it is registered
    with pytest.raises(UnidentifiedImageError):
        Image.open(GOLDEN / "tiny-50.zgt", formats=["PNG"])


@pytest.mark.parametrize("kind", ["path", "str", "open file", "memory"])
def test_any_kind_of_file(kind: str, zgt: Path, pixels: Pixels) -> None:
    with zgt.open("rb") as file:
        sources = {"path": zgt, "str": str(zgt), "open file": file, "memory": io.BytesIO(zgt.read_bytes())}
        with Image.open(sources[kind]) as image:  # type: ignore[arg-type]
            assert near(image, pixels)
        if kind == "open file":
            assert not file.closed


AGAIN: dict[str, Callable[[Image.Image], Image.Image]] = {
    "copy": lambda image: image.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda image: pickle.loads(pickle.dumps(image)),
    "convert": lambda image: image.convert("RGB"),
    "crop": lambda image: image.crop((0, 0, *image.size)),
}


@pytest.mark.parametrize("again", AGAIN)
def test_a_lazy_image_is_copied_and_pickled(again: str, zgt: Path, pixels: Pixels) -> None:
    with Image.open(zgt) as image:
        made = AGAIN[again](image)
    assert made.size == image.size
    assert near(made, pixels)


def test_threads(zgt: Path, pixels: Pixels) -> None:
    def read(_: int) -> bool:
        with Image.open(zgt) as image:
            return near(image, pixels)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(read, range(12)))


def test_nothing_is_left_open(zgt: Path, photo: Image.Image) -> None:
    process = psutil.Process()
    Image.open(zgt).load()
    saved(photo, max_bytes=900)
    before = process.num_fds()
    for _ in range(5):
        Image.open(zgt).load()
        with Image.open(zgt) as image:
            image.verify()
        Image.open(zgt).close()
        saved(photo, max_bytes=900)
    assert process.num_fds() <= before


def test_the_bomb_check_comes_before_the_pixels(zgt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(zgt)


# Damage


def test_a_file_that_is_cut_opens_and_does_not_load(zgt: Path) -> None:
    cut = io.BytesIO(zgt.read_bytes()[:-5])
    with Image.open(cut) as image:
        assert image.size == (128, 96)
        for _ in range(2):
            with pytest.raises(OSError, match="5 bytes short"):
                image.load()
    with Image.open(cut) as image, pytest.raises(OSError, match="5 bytes short"):
        image.verify()


def test_a_file_that_is_damaged_does_not_load(zgt: Path) -> None:
    damaged = bytearray(zgt.read_bytes())
    damaged[-20] ^= 1
    with Image.open(io.BytesIO(damaged)) as image, pytest.raises(OSError, match="checksum"):
        image.load()


@pytest.mark.filterwarnings("ignore:the stream ends")
@pytest.mark.parametrize("length", [0, 2, 3, 4, 10, 16])
def test_what_ends_within_its_header_is_no_image(zgt: Path, length: int) -> None:
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(zgt.read_bytes()[:length]))


def test_another_version_is_named(zgt: Path) -> None:
    newer = b"ZGT\x09" + zgt.read_bytes()[4:]
    with (
        pytest.warns(UserWarning, match="format version 9; this is version 5"),
        pytest.raises(UnidentifiedImageError),
    ):
        Image.open(io.BytesIO(newer))


def test_a_model_that_nobody_has_is_named() -> None:
    with Image.open(GOLDEN / "tiny-50.zgt") as image, pytest.raises(OSError, match=r"model \w{8}"):
        image.load()


def test_a_service_that_fails_is_an_os_error(zgt: Path, photo: Image.Image, tmp_path: Path) -> None:
    register_opener(url="http://127.0.0.1:1", timeout=0.5)  # no time to try again
    with Image.open(zgt) as image, pytest.raises(OSError, match="no connection"):
        image.load()
    with pytest.raises(OSError, match="no connection"):
        photo.save(tmp_path / "photo.zgt", bpp=0.5)
    assert not (tmp_path / "photo.zgt").exists()


# Writing


def test_every_target(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "photo.zgt", bpp=0.5)
    assert 8 * (tmp_path / "photo.zgt").stat().st_size <= 0.5 * 128 * 96
    assert len(saved(photo, max_bytes=700).getvalue()) <= 700
    assert ziggurat.inspect(saved(photo, quality=30)).quality == pytest.approx(30, abs=0.01)
    assert ziggurat.inspect(saved(photo)).quality == pytest.approx(50, abs=0.01)
    hybrid = ziggurat.inspect(saved(photo, max_bytes=700, profile="psnr", codec="hybrid", optimize=True))
    assert hybrid.codec == "hybrid"
    assert ziggurat.inspect(saved(photo, bpp=np.float64(0.3))).bpp <= 0.3
    effort = saved(photo, bpp=0.3, effort=1, profile="psnr")
    assert ziggurat.inspect(effort).bpp <= 0.3


@pytest.mark.parametrize(
    "options",
    [
        {"bpp": 0.5, "quality": 50},
        {"bpp": -1},
        {"bpp": "much"},
        {"quality": 101},
        {"bpp": 0.5, "effort": 12},
        {"bpp": 0.5, "profile": "nothing"},
        {"bpp": 0.5, "codec": "jpeg"},
        {"max_bytes": 20, "strict": True},
        {"min_psnr": 90, "strict": True},
        {"min_psnr": 30, "quality": 50},
    ],
    ids=str,
)
def test_an_option_that_makes_no_sense_is_a_value_error_and_leaves_no_file(
    options: dict[str, Any], photo: Image.Image, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"."):
        photo.save(tmp_path / "photo.zgt", **options)
    assert not (tmp_path / "photo.zgt").exists()


def test_a_stream_over_the_budget_is_a_warning(photo: Image.Image) -> None:
    with pytest.warns(UserWarning, match="the budget is 20") as told:
        saved(photo, max_bytes=20)
    assert told[0].filename == __file__


def test_the_smallest_stream_that_reaches_a_minimum_is_saved(photo: Image.Image) -> None:
    low, high = (saved(photo, min_psnr=psnr) for psnr in (24, 30))
    assert len(low.getvalue()) < len(high.getvalue())
    with Image.open(high) as image:
        assert psnr_of(image.convert("RGB"), photo) >= 30
    with pytest.warns(UserWarning, match="no stream reaches the minima"):
        saved(photo, min_psnr=90)


def psnr_of(image: Image.Image, original: Image.Image) -> float:
    error = np.asarray(image, float) - np.asarray(original.convert("RGB"), float)
    return float(10 * np.log10(255**2 / np.square(error).mean()))


MODES = {"1": "L", "L": "L", "LA": "LA", "PA": "LA", "I": "L", "I;16": "L", "P": "RGB", "RGB": "RGB"}
MODES |= {"RGBA": "RGBA", "RGBX": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB"}


@pytest.mark.parametrize(("mode", "expected"), MODES.items())
def test_every_mode_is_written_and_read(mode: str, expected: str, photo: Image.Image) -> None:
    image = photo.convert("LA").convert("PA") if mode == "PA" else photo.convert(mode)
    if expected.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize(photo.size))
    with Image.open(saved(image, quality=60)) as made:
        assert made.mode == expected
        made.load()
        assert made.mode == expected
        if expected.endswith("A"):
            alpha = Image.linear_gradient("L").resize(photo.size)
            assert made.getchannel("A").tobytes() == alpha.tobytes()
    with pytest.raises(ValueError, match="mode F"):
        saved(photo.convert("F"))


def test_an_orientation_is_applied_once(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = io.BytesIO()
    photo.save(turned, "PNG", exif=exif)
    with Image.open(turned) as image, Image.open(saved(image, quality=80)) as made:
        assert made.size == (96, 128)
        assert made.getexif() == {}
        upright = ImageOps.exif_transpose(image)
        assert np.abs(np.asarray(made, int) - np.asarray(upright, int)).mean() < 10
        assert ImageOps.exif_transpose(made).size == made.size


def test_a_lazy_image_is_saved_over_itself(zgt: Path, tmp_path: Path) -> None:
    path = tmp_path / "photo.zgt"
    path.write_bytes(zgt.read_bytes())
    with Image.open(path) as image:
        image.save(path, max_bytes=500)
    assert path.stat().st_size <= 500


def test_imageio_reads_and_writes_it(zgt: Path, pixels: Pixels, tmp_path: Path) -> None:
    iio = pytest.importorskip("imageio.v3")  # in the extra `test`
    array = iio.imread(zgt)
    assert np.abs(array.astype(int) - pixels).max() <= 2
    assert iio.improps(zgt, plugin="pillow").shape == (96, 128, 3)
    iio.imwrite(tmp_path / "again.zgt", array, max_bytes=700)
    assert (tmp_path / "again.zgt").stat().st_size <= 700


def test_truncated_images_are_no_pictures_even_when_pillow_is_told_to_take_them(
    zgt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with Image.open(io.BytesIO(zgt.read_bytes()[:-5])) as image, pytest.raises(OSError, match="short"):
        image.load()


# Metadata


def test_metadata_is_written_when_given_and_read_with_the_header(
    photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = b"Exif\0\0" + samples.exif()
    file = saved(photo, max_bytes=1500, exif=exif, xmp=samples.XMP)
    assert len(file.getvalue()) <= 1500
    monkeypatch.setattr(ZigguratImageFile, "load", lambda self: pytest.fail("it decodes"))
    image = Image.open(file)
    read = image.getexif()
    assert (read[ExifTags.Base.Make], read[ExifTags.Base.Orientation]) == ("Ziggurat", 1)
    assert not read.get_ifd(ExifTags.IFD.GPSInfo)
    assert b"Tour" in image.info["xmp"]


def test_exif_may_be_pillows_own_and_the_place_is_asked_for(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = samples.LATITUDE
    image = Image.open(saved(photo, quality=30, exif=exif, metadata="keep-with-gps"))
    assert image.size == photo.size, "the pixels are those of the image, whatever else is given"
    read = image.getexif()
    assert read[ExifTags.Base.Artist] == "somebody"
    assert read.get(ExifTags.Base.Orientation, 1) == 1
    assert read.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] == samples.LATITUDE


def test_metadata_is_not_written_unless_given(photo: Image.Image) -> None:
    image = photo.copy()
    image.info |= {"exif": b"Exif\0\0" + samples.exif(orientation=1), "xmp": samples.XMP}
    again = Image.open(saved(image, quality=30))
    assert not {"exif", "xmp"} & again.info.keys()
    assert image.info["xmp"] == samples.XMP


def test_it_goes_on_to_other_formats(photo: Image.Image) -> None:
    image = Image.open(saved(photo, quality=30, exif=samples.exif(), xmp=samples.XMP))
    file = io.BytesIO()
    image.save(file, "JPEG", exif=image.info["exif"], xmp=image.info["xmp"])
    with Image.open(file) as jpeg:
        assert jpeg.getexif()[ExifTags.Base.Make] == "Ziggurat"
        assert jpeg.info["xmp"] == image.info["xmp"]


def test_damaged_metadata_is_said_when_the_pixels_are_wanted() -> None:
    stream = Bitstream.parse((GOLDEN / "tiny-50.zgt").read_bytes())
    image = Image.open(io.BytesIO(replace(stream, metadata=b"no deflate").to_bytes()))
    assert "exif" not in image.info
    with pytest.raises(OSError, match="metadata"):
        image.load()
