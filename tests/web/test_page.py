"""The page in a real browser, as people use it: with a mouse, with fingers, and by keyboard."""

from __future__ import annotations

import base64
import io
import mimetypes
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.bitstream import Bitstream
from tests.web.conftest import KEY, LARGE, PHONE, Visits

Pictures = Callable[..., Path]
RESULT = "#actions:visible"
ALBUM = "#album-actions:visible"


def give(page: Any, *paths: Path, how: str = "drop") -> None:
    """Drop files on the page, or paste them."""
    files = [
        [path.name, mimetypes.guess_type(path)[0] or "", base64.b64encode(path.read_bytes()).decode()]
        for path in paths
    ]
    page.evaluate(
        """([files, how]) => {
            const held = new DataTransfer();
            const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            for (const [name, type, text] of files)
                held.items.add(new File([bytes(text)], name, { type }));
            const options = { bubbles: true, cancelable: true, dataTransfer: held, clipboardData: held };
            const event = how === "drop" ? DragEvent : ClipboardEvent;
            document.body.dispatchEvent(new event(how, options));
        }""",
        [files, how],
    )


def opened(page: Any, *paths: Path) -> Any:
    give(page, *paths)
    page.wait_for_selector(RESULT if len(paths) == 1 else ALBUM)
    return page


def saved(page: Any, button: str) -> tuple[str, bytes]:
    with page.expect_download() as download:
        page.click(button)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def percent(page: Any) -> int:
    """Where the divider is."""
    return int(page.get_attribute(".divider", "aria-valuenow"))


def transforms(page: Any) -> list[str]:
    return [page.eval_on_selector(name, "it => it.style.transform") for name in (".before", ".after")]


def scale(page: Any) -> float:
    return float(transforms(page)[1].split("scale(")[1].rstrip(")"))


def middle(page: Any, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_newcomer_sees_a_picture_compressed_after_one_click(visits: Visits) -> None:
    page = visits.open()
    page.click("[data-demo='cat.jpg']")
    page.wait_for_selector(RESULT)

    assert page.eval_on_selector_all(".canvas img", "all => all.map((it) => it.naturalWidth)") == [451, 451]
    text = page.inner_text("#result")
    assert " bits per pixel, 4.1 % of the" in text
    assert "61.4 kB that you gave" in text
    assert "dB" in text
    assert page.locator("#details .bars > div").count() > 4


def test_a_picture_is_picked_pasted_or_dropped(visits: Visits, picture: Pictures) -> None:
    page = visits.open()
    page.set_input_files("#file", picture("a.png"))
    page.wait_for_selector(RESULT)
    for how in ("paste", "drop"):
        page.click("#home")
        assert page.is_visible("#start")
        give(page, picture("b.png", left=0), how=how)
        page.wait_for_selector(RESULT)


def test_options_make_another_stream(visits: Visits, picture: Pictures) -> None:
    page = opened(visits.open(), picture("a.png"))
    ids = [page.url]

    def until_new() -> None:
        page.wait_for_function("url => location.href !== url", arg=ids[-1])
        page.wait_for_selector("#busy", state="hidden")
        ids.append(page.url)

    page.select_option("[name=unit]", "bytes")
    assert page.input_value("[name=amount]") == "230"  # what 0.15 bits per pixel are here
    page.fill("[name=amount]", "400")
    page.press("[name=amount]", "Enter")
    until_new()
    assert 380 < int(page.inner_text("#result tbody td >> nth=0")) <= 400
    for option, value in (("profile", "psnr"), ("codec", "hybrid")):
        page.select_option(f"[name={option}]", value)
        until_new()
    page.click("#result summary")
    assert "hybrid" in page.inner_text("#result dl")
    assert len(set(ids)) == 4


def test_the_divider_is_swiped_by_mouse_and_by_key(visits: Visits, picture: Pictures) -> None:
    page = opened(visits.open(), picture("a.png"))
    assert percent(page) == 50
    x, y = middle(page, ".divider span")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 150, y, steps=4)
    page.mouse.up()
    swiped = percent(page)
    assert swiped < 40
    left = page.eval_on_selector(".after", "it => it.style.clipPath")

    # The divider has the focus now, as it has with Tab.
    assert page.evaluate("document.activeElement.getAttribute('role')") == "slider"
    for key, expected in (("ArrowRight", swiped + 2), ("End", 100), ("PageDown", 90), ("Home", 0)):
        page.keyboard.press(key)
        assert abs(percent(page) - expected) <= 1
    assert page.eval_on_selector(".after", "it => it.style.clipPath") != left


def test_the_original_is_left_of_the_divider(visits: Visits, picture: Pictures) -> None:
    page = opened(visits.open(), picture("a.png"))
    page.focus(".divider")

    def halves() -> list[bytes]:
        """Parts of the screen left and right of the middle, without the labels above."""
        with Image.open(io.BytesIO(page.locator("#viewer").screenshot())) as shot:
            width, height = shot.size
            lefts = (width // 10, width * 6 // 10)
            boxes = [(left, height // 3, left + width * 3 // 10, height * 9 // 10) for left in lefts]
            return [shot.crop(box).tobytes() for box in boxes]

    half_way = halves()
    page.keyboard.press("End")
    original = halves()
    page.keyboard.press("Home")
    result = halves()
    assert half_way == [original[0], result[1]]
    assert original[0] != result[0]


def test_both_pictures_zoom_and_move_as_one(visits: Visits, picture: Pictures) -> None:
    page = opened(visits.open(), picture("a.png"))
    fitted = scale(page)
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert scale(page) > 2 * fitted
    zoomed = transforms(page)
    page.focus(".divider")
    page.keyboard.press("Shift+ArrowRight")
    x, y = middle(page, "#viewer")
    page.mouse.move(x + 100, y + 100)
    page.mouse.down()
    page.mouse.move(x + 50, y + 40, steps=3)
    page.mouse.up()
    moved = transforms(page)
    page.mouse.wheel(0, -200)
    wheeled = transforms(page)
    page.keyboard.press("0")

    assert [len(set(pair)) for pair in (zoomed, moved, wheeled)] == [1, 1, 1]
    assert len({zoomed[0], moved[0], wheeled[0]}) == 3
    assert scale(page) == fitted


def test_the_difference_is_shown(visits: Visits, picture: Pictures) -> None:
    page = opened(visits.open(), picture("a.png"))
    page.keyboard.press("d")
    assert page.get_attribute("#difference", "aria-pressed") == "true"
    assert not page.is_visible(".divider")
    assert page.eval_on_selector(".after", "it => getComputedStyle(it).mixBlendMode") == "difference"
    page.click("#difference")
    assert page.is_visible(".divider")


def test_other_codecs_are_shown_at_the_same_size(visits: Visits, picture: Pictures) -> None:
    page = opened(visits.open(), picture("a.png"))
    visits.expected = 1
    page.click("[data-rival=jpeg]")  # which cannot be so small
    page.wait_for_selector("#result tr:has-text('JPEG')")
    assert "its smallest has" in page.inner_text("#result")
    page.click("[data-rival='']")
    assert "Ziggurat" in page.inner_text(".tag.right")

    def give_bpp(amount: str) -> int:
        before = page.url
        page.fill("[name=amount]", amount)
        page.press("[name=amount]", "Enter")
        page.wait_for_function("url => location.href !== url", arg=before)
        page.wait_for_selector("#busy", state="hidden")
        return int(page.inner_text("#result tbody td >> nth=0").replace(",", ""))

    ours = give_bpp("0.8")
    for rival in ("JPEG", "WebP", "AVIF"):
        page.click(f"[data-rival={rival.lower()}]")
        page.wait_for_selector(f"#result tr.current:has-text('{rival}')")
        size, psnr, ms_ssim, ssimulacra2 = page.locator("#result tr.current td").all_inner_texts()
        assert 0.7 * ours < int(size.replace(",", "")) <= ours
        assert float(psnr.removesuffix(" dB")) > 20
        assert 0.5 < float(ms_ssim) < 1
        assert float(ssimulacra2) < 100
        assert rival in page.inner_text(".tag.right")
        assert page.eval_on_selector(".after", "async it => (await it.decode(), it.naturalWidth)") == 128

    ours = give_bpp("0.6")  # beside another stream, the same codec is made anew
    assert page.locator("#result tbody tr").count() == 2
    assert int(page.inner_text("#result tr.current td >> nth=0").replace(",", "")) <= ours


def test_curves_of_this_very_picture_are_drawn(visits: Visits, picture: Pictures) -> None:
    page = opened(visits.open(), picture("a.png"))
    page.click("#curve > summary")
    page.click("#draw")
    page.wait_for_function("() => document.querySelectorAll('#chart path').length === 8")  # with the legend's
    page.wait_for_selector("#busy", state="hidden")
    page.click("#chart summary")
    rows = [row.split("\t") for row in page.locator("#chart tbody tr").all_inner_texts()]
    ours = [float(bpp) for codec, bpp, *_ in rows if codec == "Ziggurat"]
    assert {codec for codec, *_ in rows} == {"Ziggurat", "JPEG", "WebP", "AVIF"}
    assert ours == sorted(ours)
    assert len(ours) >= 4
    assert max(float(bpp) for _, bpp, *_ in rows) <= max(ours)
    visits.expected = len([text for text in visits.errors if "422" in text])  # JPEG is not so small


def test_a_phone_shows_everything_and_takes_fingers(visits: Visits, picture: Pictures) -> None:
    page = opened(visits.open(size=PHONE), picture("a.png"))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        touched = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touched})

    x, y = middle(page, "#viewer")
    fingers("touchStart", (x, y))
    for step in range(1, 6):
        fingers("touchMove", (x + 20 * step, y))
    fingers("touchEnd")
    assert percent(page) > 60

    fitted = scale(page)
    fingers("touchStart", (x - 20, y), (x + 20, y))
    for step in range(1, 6):
        fingers("touchMove", (x - 20 - 10 * step, y), (x + 20 + 10 * step, y))
    fingers("touchEnd")
    assert scale(page) > 1.5 * fitted


def test_the_stream_and_the_picture_are_saved(visits: Visits, picture: Pictures) -> None:
    page = opened(visits.open(), picture("a.png"))
    name, stream = saved(page, "#save-stream")
    parsed = Bitstream.parse(stream)
    assert (name, parsed.width, parsed.height) == ("a.zgt", 128, 96)
    name, png = saved(page, "#save-png")
    assert (name, png[:4]) == ("a.png", b"\x89PNG")


def test_a_stream_is_opened_and_explained(visits: Visits, picture: Pictures, tmp_path: Path) -> None:
    page = opened(visits.open(), picture("a.png"))
    path = tmp_path / "mine.zgt"
    path.write_bytes(saved(page, "#save-stream")[1])
    page.click("#home")

    opened(page, path)
    text = page.inner_text("#result")
    parsed = Bitstream.parse(path.read_bytes())
    assert all(part in text for part in ("128 × 96", "learned", parsed.model_id.hex(), "Side information"))
    assert page.eval_on_selector(".after", "it => it.naturalWidth") == 128
    assert not page.is_visible("#share")  # it is not stored
    assert not page.is_visible("#options")


def test_a_link_shows_the_stream_to_others(visits: Visits, picture: Pictures) -> None:
    page = opened(visits.open(), picture("a.png"))
    page.click("#share")
    page.wait_for_selector("#toast:visible")
    link = page.evaluate("navigator.clipboard.readText()")

    guest = visits.open(f"#{link.partition('#')[2]}")
    guest.wait_for_selector(RESULT)
    assert link.partition("#")[2] in guest.inner_text("#result")


def test_a_signed_link_shows_one_stream_to_those_without_a_key(
    visits: Visits, guarded: str, picture: Pictures
) -> None:
    page = visits.open(server=guarded)
    page.fill("#key", KEY)
    page.press("#key", "Enter")
    opened(page, picture("a.png"))
    page.click("#share")
    page.wait_for_selector("#toast:visible >> text=It ends on")
    link = page.evaluate("navigator.clipboard.readText()").partition("#")[2]

    guest = visits.open(f"#{link}", server=guarded, size=PHONE)
    guest.wait_for_selector(RESULT)
    assert not guest.is_visible("#key-form")
    assert guest.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert saved(guest, "#save-stream")[1] == saved(page, "#save-stream")[1]
    guest.click("#share")  # is passed on as it is
    guest.wait_for_selector("#toast:visible")
    assert guest.evaluate("navigator.clipboard.readText()").partition("#")[2] == link
    guest.reload()
    guest.wait_for_selector(RESULT)

    stranger = visits.open(f"#{link[:-1]}{'A' if link[-1] != 'A' else 'E'}", server=guarded)
    stranger.wait_for_selector("#error:visible >> text=Link that is not valid")
    visits.expected = 1


def test_long_work_says_how_far_it_is(visits: Visits, picture: Pictures) -> None:
    page = opened(visits.open(), picture("b.png", left=0, width=256, height=192))
    page.locator("#options [name=effort]").fill("9")
    page.wait_for_selector("#busy-text >> text=/networks, [1-9][0-9]* %, [0-9]+ s/")
    assert page.eval_on_selector("#busy-bar", "it => it.value") > 0
    page.click("#busy-stop")
    page.wait_for_selector("#busy", state="hidden")


def test_what_was_left_out_is_said(visits: Visits, picture: Pictures) -> None:
    page = visits.open()

    def answer(route: Any) -> None:
        real = route.fetch()
        route.fulfill(response=real, headers={**real.headers, "Ziggurat-Dropped": "exif, icc"})

    page.route("**/compress?*", answer)
    opened(page, picture("a.png"))
    assert "Left out of the stream: EXIF, colour profile" in page.inner_text("#result")


def test_the_curl_line_of_an_album_works(visits: Visits, picture: Pictures) -> None:
    paths = [picture("""it's "a", or; b.png"""), picture("b.png", left=0)]
    page = opened(visits.open(), *paths)
    page.click("#album-curl")
    line = page.inner_text("#album-curl-line")
    subprocess.run(["bash", "-c", line], cwd=paths[0].parent, check=True, capture_output=True)
    with zipfile.ZipFile(paths[0].parent / "pictures.zip") as files:
        streams = [files.read(name) for name in files.namelist() if name.endswith(".zgt")]
    with zipfile.ZipFile(io.BytesIO(saved(page, "#save-zip")[1])) as files:
        assert [files.read(name) for name in files.namelist()] == streams


def test_the_curl_line_works(visits: Visits, picture: Pictures) -> None:
    path = picture("it's a picture.png")
    page = opened(visits.open(), path)
    page.click("#curl")
    stream = saved(page, "#save-stream")[1]

    subprocess.run(
        ["bash", "-c", page.inner_text("#curl-line")], cwd=path.parent, check=True, capture_output=True
    )
    assert path.with_suffix(".zgt").read_bytes() == stream


def test_errors_say_what_happened_and_what_to_do(visits: Visits, picture: Pictures, tmp_path: Path) -> None:
    text = tmp_path / "letter.txt"
    text.write_text("Dear reader")
    cut = tmp_path / "cut.zgt"
    cut.write_bytes(b"ZGT\x03" + bytes(10))
    large = picture("large.png", left=0, width=1000, height=700)
    page = visits.open()
    visits.expected = 4
    for path, happened, advice in (
        (text, "Not an image we read", "Save it as JPEG"),
        (cut, "Truncated stream", "Copy it again"),
        (large, "Image over the pixel limit", "takes up to 0.6 megapixels"),
    ):
        give(page, path)
        page.wait_for_selector("#error:visible")
        said = page.inner_text("#error")
        assert happened in said
        assert advice in said
    page.goto(page.url.partition("#")[0] + "#" + "0" * 64)
    page.wait_for_selector("#error:visible >> text=No such stream")
    assert page.is_visible("#start")

    opened(page, picture("a.png"))  # and all is well again
    assert not page.is_visible("#error")


def test_a_service_that_is_gone_is_named(visits: Visits, picture: Pictures) -> None:
    page = visits.open()
    visits.expected = 1
    page.context.set_offline(True)
    give(page, picture("a.png"))
    page.wait_for_selector("#error:visible")
    assert "cannot be reached" in page.inner_text("#error")


def test_many_pictures_share_one_budget(visits: Visits, picture: Pictures) -> None:
    paths = [picture("a.png"), picture("b.png", left=0), picture("c.png", left=300)]
    page = opened(visits.open(), *paths)
    name, archive = saved(page, "#save-zip")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        assert files.testzip() is None
        streams = {entry: files.read(entry) for entry in files.namelist()}

    assert (name, list(streams)) == ("pictures.zip", ["a.zgt", "b.zgt", "c.zgt"])
    rows = page.locator("#album-table tbody tr").all_inner_texts()
    assert [row.split()[0] for row in rows] == ["a.png", "b.png", "c.png", "All"]
    assert sum(map(len, streams.values())) == int(rows[-1].split()[2].replace(",", ""))

    page.click("#album-table button >> nth=1")
    page.wait_for_selector(RESULT)
    assert saved(page, "#save-stream")[1] == streams["b.zgt"]
    assert page.locator(".before").is_visible()
    page.click("#back")
    assert page.is_visible("#album-table")


def test_a_service_with_keys_asks_for_one(visits: Visits, guarded: str, picture: Pictures) -> None:
    page = visits.open(server=guarded)
    visits.expected = 1
    assert page.is_visible("#key-form")
    give(page, picture("a.png"))
    page.wait_for_selector("#error:visible")
    assert "Enter an API key" in page.inner_text("#error")
    page.fill("#key", KEY)
    page.press("#key", "Enter")
    page.wait_for_selector(RESULT)  # what was refused is done now

    assert not page.is_visible("#error")
    saved(page, "#save-stream")
    page.click("#curl")
    assert "$ZIGGURAT_API_KEY" in page.inner_text("#curl-line")
    assert KEY not in page.inner_text("body")
    assert "for 7 days" in page.inner_text("#privacy")
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_a_request_is_stopped(visits: Visits) -> None:
    page = visits.open()
    page.click("[data-demo='coffee.jpg']")
    page.wait_for_selector("#busy-stop:visible")
    page.click("#busy-stop")
    page.wait_for_selector("#busy", state="hidden")
    assert not page.is_visible("#actions")
    assert not page.is_visible("#error")


# Colours depend on the scheme alone, and the layout on the size.
@pytest.mark.parametrize(("scheme", "size"), [("light", LARGE), ("dark", PHONE)], ids=["light", "dark"])
def test_nobody_is_shut_out(
    visits: Visits, picture: Pictures, tmp_path: Path, scheme: str, size: dict[str, int]
) -> None:
    """axe finds nothing, in any state of the page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def check(where: str) -> None:
        found = axe.run(page).response["violations"]
        assert [(where, fault["id"], fault["nodes"][0]["html"]) for fault in found] == []

    page = visits.open(size=size, scheme=scheme)
    check("start")
    opened(page, picture("a.png"))
    page.click("#curl")
    page.click("#result summary")
    page.click("#details summary")
    if size == LARGE:
        page.click("#curve > summary")
        page.click("#draw")
        page.wait_for_selector("#chart svg")
        page.click("#busy-stop")
        visits.expected = len(visits.errors)  # what the codecs that cannot be as small answered
    check("result")
    opened(page, picture("a.png"), picture("b.png", left=0))
    check("album")
    (tmp_path / "letter.txt").write_text("Dear reader")
    visits.expected += 1
    give(page, tmp_path / "letter.txt")
    page.wait_for_selector("#error:visible")
    check("error")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_api_is_described_without_the_internet(visits: Visits, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visits.open("docs", scheme=scheme)
    paths = page.locator(".operation h3").all_inner_texts()
    assert len(paths) == len(set(paths)) > 10
    page.click("summary >> nth=0")
    assert "max_bytes" in page.inner_text(".operation >> nth=0")
    assert axe.run(page).response["violations"] == []


def test_the_api_pages_curl_lines_work(visits: Visits, picture: Pictures, tmp_path: Path) -> None:
    page = visits.open("docs")
    (tmp_path / "FILE").write_bytes(picture("a.png").read_bytes())
    for path, magic in (("compress", b"ZGT"), ("encode", b"RIFF"), ("allocate", b"PK")):
        line = page.locator(f"#post-{path} pre").text_content()
        subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, capture_output=True)
        assert (tmp_path / "RESULT").read_bytes().startswith(magic)
