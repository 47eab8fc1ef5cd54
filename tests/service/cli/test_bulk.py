"""`ziggurat compress --engine ray`: what it refuses, plans and tells.

Here an engine of this process does the work; tests/service/bulk/test_cluster.py has Ray's.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from models import Target
from models.weights import registry
from service.bulk.work import Means, Wishes, Work
from service.bulk.worker import settings_of
from service.engine.engine import Engine
from service.metrics import Metrics
from tests.service.bulk.local import Local
from tests.service.conftest import Terminal


@pytest.fixture
def folder(tmp_path: Path, photo: Image.Image) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    photo.save(folder / "a.png")
    photo.rotate(180).save(folder / "b.png")
    (folder / "none.png").write_bytes(b"none")
    (folder / "notes.txt").write_text("of another kind")
    return folder


@pytest.fixture(scope="module")
def pool() -> Iterator[Local]:
    wishes = Wishes(Target(bpp=1), registry.DEFAULT, registry.card(registry.DEFAULT).model_id)
    means = Means("cpu", cores=1, at_once=2, max_pixels=10**6, max_file_bytes=10**6)
    with asyncio.Runner() as runner:
        engine = Engine(settings_of(Work(wishes, means, "")), Metrics())
        runner.run(engine.start())
        yield Local(runner, engine)
        runner.run(engine.close())


@pytest.fixture
def local(pool: Local, monkeypatch: pytest.MonkeyPatch) -> Local:
    @contextmanager
    def connected() -> Iterator[Local]:
        yield pool

    monkeypatch.setattr("service.bulk.cluster.connected", connected)
    return pool


def test_neither_help_nor_the_modules_of_bulk_work_load_ray() -> None:
    program = (
        "import sys; from service.cli import main\n"
        "try: main(['compress', '--help'])\n"
        "except SystemExit: print({'ray', 'pyarrow', 'torch'} & set(sys.modules))\n"
        "import service.bulk.job, service.bulk.actor; print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "--engine" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["set()", "False"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--bpp", "1"], "needs a folder or the address of a bucket"),
        (["--bpp", "1", "-o", "-"], "needs a folder or the address of a bucket"),
        (["--bpp", "1", "-o", "in/a.png"], "is a file, and a folder is needed"),
        (["--bpp", "1", "-o", "out", "--no-overwrite"], "no stream is ever replaced"),
        (["--bpp", "1", "-o", "out", "-j", "3"], "takes all that the Ray cluster has"),
        (["--bpp", "1", "-o", "out", "--device", "cuda:1"], "takes cpu or cuda, not cuda:1"),
        (["--bpp", "1", "-o", "out", "--profile", "best"], "the models are"),
        (["--bpp", "1", "-o", "out", "-"], "stdin is one image"),
        (["--quality", "5", "--codec", "auto", "-o", "out"], "not for a quality"),
        (["--budget-bpp", "1", "--codec", "hybrid", "-o", "out"], "for the learned codec"),
        (["--budget-bpp", "-1", "-o", "out"], "bpp must be in"),
        (["--budget-bpp", "1", "--metric", "best", "-o", "out"], "none of"),
        (["--bpp", "1", "-o", "out", "nowhere"], "nowhere does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    terminal: Terminal, folder: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], reason: str
) -> None:
    monkeypatch.chdir(folder.parent)
    assert terminal.run("compress", "in", "--engine", "ray", *options) in (1, 2)
    assert reason in terminal.err
    assert terminal.err.count("\n") == 1
    assert not Path("out").exists()


def test_a_folder_without_images_and_an_address_without_the_engine(
    terminal: Terminal, folder: Path, tmp_path: Path
) -> None:
    for image in folder.glob("*.png"):
        image.unlink()
    output = tmp_path / "out"
    assert terminal.run("compress", folder, "--engine", "ray", "--bpp", "1", "-o", output) == 2
    assert "nothing to read" in terminal.err
    assert "1 files of other kinds" in terminal.err
    assert terminal.run("compress", "s3://pictures/", "--bpp", "1", "-o", output) == 2
    assert "addresses are for --engine ray" in terminal.err


def test_a_dry_run_counts_and_writes_nothing(terminal: Terminal, folder: Path, tmp_path: Path) -> None:
    command = ("compress", folder, "--engine", "ray", "--bpp", "1", "-o", tmp_path / "out", "--dry-run")
    assert terminal.run(*command) == 0
    assert "3 images" in terminal.err
    assert "3 to do, 0 done before" in terminal.err
    assert terminal.run(*command, "--json") == 0
    assert json.loads(terminal.out)["to_do"] == 3
    assert not (tmp_path / "out").exists()


def test_a_folder_is_compressed_and_told(
    terminal: Terminal, folder: Path, tmp_path: Path, local: Local
) -> None:
    output = tmp_path / "out"
    command = ("compress", folder, "--engine", "ray", "--bpp", "1", "-o", output)
    assert terminal.run(*command) == 1
    assert f"{folder / 'none.png'}: not an image" in terminal.err
    assert "2 done, 1 failed; 1 files of other kinds left alone" in terminal.err
    assert terminal.out == ""
    rows = pq.read_table(output / "manifest.parquet").to_pylist()
    assert [row["problem"] for row in rows if row["status"] == "failed"] == ["unsupported-image"]

    assert terminal.run(*command, "--json", "--quiet", "--force") == 1
    *told, summary = map(json.loads, terminal.out.splitlines())
    files = {Path(line["file"]).name: line for line in told if "file" in line}
    assert files["none.png"]["problem"] == "unsupported-image"
    assert (output / files["a.png"]["output"]).stat().st_size == files["a.png"]["bytes"]
    assert [line["progress"]["done"] for line in told if "progress" in line][-1] == 3
    assert summary["summary"]["done"] == 2
    assert terminal.err.count("\n") == 1

    assert terminal.run(*command) == 1
    assert "0 done, 2 done before, 1 failed" in terminal.err


def test_budgets_below_the_range_have_their_exit_code(
    terminal: Terminal, folder: Path, tmp_path: Path, local: Local
) -> None:
    (folder / "none.png").unlink()
    command = ("compress", folder, "--engine", "ray")
    assert terminal.run(*command, "--max-bytes", "20", "-o", tmp_path / "each") == 3
    assert terminal.err.count("is the smallest stream there is; it is kept; --strict would refuse it") == 2
    assert terminal.run(*command, "--max-bytes", "20", "--strict", "-o", tmp_path / "strict") == 3
    assert "0 done, 2 over budget" in terminal.err
    assert terminal.run(*command, "--budget-bytes", "20", "--strict", "-o", tmp_path / "all") == 3
    assert "no stream is written" in terminal.err
    assert terminal.run(*command, "--budget-bpp", "0.6", "-o", tmp_path / "all") == 0
    budget = int(0.6 * 2 * 128 * 96 / 8)
    assert f"of {budget} bytes" in terminal.err
    assert "mean MS-SSIM" in terminal.err


def test_an_interruption_says_how_to_go_on(
    terminal: Terminal, folder: Path, tmp_path: Path, local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "stop_after", 0)
    command = ("compress", folder, "--engine", "ray", "--bpp", "1", "-o", tmp_path / "out")
    assert terminal.run(*command) == 130
    assert "the same command goes on from here" in terminal.err
