"""Who does the work: the codec where it is, else a service, else an error that names both."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from PIL import Image
from ziggurat import errors
from ziggurat.backends import Options, backend
from ziggurat.header import Header

from models.codec import Codec
from tests.make_golden import GOLDEN

ROOT = Path(__file__).parents[3]
DAMAGED = (GOLDEN / "tiny-50.zgt").read_bytes()[:-3]


def run_without_the_codec(code: str, *packages: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python that has the client, Pillow and httpx2, and no `models` but that in `packages`."""
    site = sysconfig.get_paths()["purelib"]  # -S: nothing that is installed for editing is seen
    paths = [str(path) for path in (*packages, ROOT / "client", site)]
    prelude = f"import sys; sys.path[:0] = {paths!r}\n"
    return subprocess.run(
        [sys.executable, "-S", "-W", "error", "-c", prelude + code],
        cwd=packages[0] if packages else ROOT / "client",
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


NEITHER = """
from ziggurat.backends import Options, backend
try:
    backend(Options())
except ImportError as error:
    print(error)
"""


def test_without_both_the_error_names_both_ways() -> None:
    done = run_without_the_codec(NEITHER)
    assert done.stderr == ""
    assert "`pip install .` in its repository" in done.stdout
    assert "ZIGGURAT_URL=http://" in done.stdout


def test_a_package_models_of_somebody_else_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "models" / "codec.py").write_text("")
    done = run_without_the_codec(NEITHER, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "`pip install .` in its repository" in done.stdout


def test_a_codec_without_torch_is_told(tmp_path: Path) -> None:
    for name in ("bitstream", "weights"):
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "models" / "__init__.py").write_text("")
    (tmp_path / "models" / "codec.py").write_text("import nothing_like_torch")
    done = run_without_the_codec(NEITHER, tmp_path)
    assert "the codec lacks something: No module named 'nothing_like_torch'" in done.stdout


def test_the_service_does_it_without_the_codec(service: str, folder: Path, tmp_path: Path) -> None:
    code = f"""
import ziggurat.pillow
from PIL import Image
with Image.open({str(folder / "photo.jpg")!r}) as photo:
    photo.save({str(tmp_path / "photo.zgt")!r}, bpp=0.5)
with Image.open({str(tmp_path / "photo.zgt")!r}) as image:
    image.load()
    print(image.mode, image.size, "torch" in sys.modules)
"""
    done = run_without_the_codec(code, ZIGGURAT_URL=service)
    assert done.stderr == ""
    assert done.stdout.split() == ["RGB", "(128,", "96)", "False"]


@pytest.mark.usefixtures("no_service")
def test_the_codec_goes_before_the_environments_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIGGURAT_URL", "http://127.0.0.1:1")
    with pytest.raises(errors.TruncatedStreamError):
        backend(Options()).decompress(DAMAGED)
    with pytest.raises(errors.UnreachableError):
        backend(Options(url="http://127.0.0.1:1")).decompress(DAMAGED)


def test_every_codec_and_profile(photo: Image.Image, service: str) -> None:
    for options in (Options(), Options(url=service)):
        by = backend(options)
        for profile, codec in ((None, "learned"), ("psnr", "learned"), ("psnr", "hybrid")):
            stream, _ = by.compress(photo, profile=profile, max_bytes=900, codec=codec)
            assert len(stream) <= 900
            assert Header.read(stream).codec == codec
            assert by.decompress(stream).size == photo.size


def test_both_raise_the_same(photo: Image.Image, service: str) -> None:
    unknown = GOLDEN / "tiny-50.zgt"  # of a model that nobody loads
    for options in (Options(), Options(url=service)):
        by = backend(options)
        with pytest.raises(errors.UnknownModelError):
            by.decompress(unknown.read_bytes())
        with pytest.raises(errors.UnknownProfileError):
            by.compress(photo, profile="nothing", bpp=1)
        with pytest.raises(errors.TargetError):
            by.compress(photo, profile=None, bpp=1, quality=3)
        with pytest.raises(errors.InvalidRequestError):
            by.compress(photo, profile=None, bpp=1, effort=11)


def test_the_codec_is_that_of_the_library(photo: Image.Image) -> None:
    stream, met = backend(Options()).compress(photo, profile="psnr", bpp=0.4)
    assert met
    assert stream == Codec.load("psnr").compress(photo, bpp=0.4).data
