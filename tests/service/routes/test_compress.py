from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import ExifTags, Image, ImageCms

from models.bitstream import VERSION, Bitstream, CodecKind
from models.codec import Codec
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.rate_control import meets
from service.engine import coder
from service.ids import id_of
from tests.models.metadata import samples
from tests.models.overlay import samples as drawn

RAW = {"Content-Type": "image/jpeg"}


def test_the_answer_is_the_stream_and_its_facts(client: TestClient, jpeg: bytes) -> None:
    answer = client.post("/compress?bpp=0.5", content=jpeg, headers=RAW)

    assert answer.status_code == 201
    assert answer.headers["content-type"] == "image/vnd.ziggurat"
    stream_id = id_of(answer.content)
    assert answer.headers["location"] == f"/decompress/{stream_id}"
    assert answer.headers["etag"] == f'"{stream_id}"'
    assert answer.headers["content-digest"].startswith("sha-256=:")
    header = Bitstream.parse(answer.content)
    assert answer.headers["ziggurat-model"] == f"visual/{header.model_id.hex()}"
    assert float(answer.headers["ziggurat-bpp"]) == pytest.approx(
        8 * len(answer.content) / (128 * 96), abs=1e-6
    )
    assert answer.headers["ziggurat-target-bpp"] == "0.500000"
    assert answer.headers["ziggurat-target-met"] == ("true" if meets(768, len(answer.content)) else "false")
    assert "ziggurat-psnr" not in answer.headers


def test_it_is_what_the_codec_makes_of_the_same_pixels(
    client: TestClient, codec: LearnedCodec, jpeg: bytes
) -> None:
    answer = client.post("/compress?quality=40", content=jpeg, headers=RAW)

    assert answer.content == Codec(codec).compress(Image.open(io.BytesIO(jpeg)), quality=40).data


@pytest.mark.parametrize(
    ("budget", "largest"), [("bpp=0.5", 768), ("max_bytes=700", 700), ("quality=60", 10_000)]
)
def test_no_budget_is_exceeded(client: TestClient, jpeg: bytes, budget: str, largest: int) -> None:
    answer = client.post(
        f"/compress?{budget}", files={"file": ("photo.jpg", jpeg)}, headers={"Accept": "application/json"}
    )

    facts = answer.json()
    assert answer.status_code == 201
    assert 0 < facts["bytes"] <= largest
    assert facts["target_met"] == (
        budget == "quality=60" or facts["bytes"] >= largest - max(0.01 * largest, 8)
    )
    assert (facts["width"], facts["height"], facts["profile"]) == (128, 96, "visual")


def test_json_tells_what_was_asked_for(client: TestClient, jpeg: bytes) -> None:
    query = "bpp=2&profile=psnr&report=psnr,ms-ssim,ssimulacra2"
    answer = client.post(f"/compress?{query}", content=jpeg, headers=RAW | {"Accept": "application/json"})

    facts = answer.json()
    assert facts["profile"] == "psnr"
    assert 15 < facts["psnr"] < 60
    assert 0.5 < facts["ms_ssim"] < 1
    assert 20 < facts["ssimulacra2"] < 100
    assert answer.headers["ziggurat-psnr"] == f"{facts['psnr']:.3f}"
    assert answer.headers["ziggurat-ssimulacra2"] == f"{facts['ssimulacra2']:.2f}"
    assert client.get(facts["url"]).status_code == 200


def test_minima_give_the_smallest_stream_that_reaches_them(
    client: TestClient, codec: LearnedCodec, jpeg: bytes
) -> None:
    query = "min_psnr=26&min_ms_ssim=0.9&report=ssimulacra2"
    answer = client.post(f"/compress?{query}", content=jpeg, headers=RAW | {"Accept": "application/json"})

    facts = answer.json()
    here = Codec(codec).compress(Image.open(io.BytesIO(jpeg)), min_psnr=26, min_ms_ssim=0.9)
    assert (facts["id"], facts["target_met"], facts["target_bpp"]) == (id_of(here.data), True, None)
    assert facts["psnr"] == pytest.approx(here.scores["psnr"])
    assert facts["psnr"] >= 26
    assert facts["ms_ssim"] == pytest.approx(here.scores["ms-ssim"])
    assert facts["ms_ssim"] >= 0.9
    assert answer.headers["ziggurat-ssimulacra2"] == f"{facts['ssimulacra2']:.2f}"


@pytest.mark.parametrize("query", ["min_psnr=60", "min_psnr=26&max_bytes=60&codec=hybrid"])
def test_minima_out_of_reach_give_the_nearest_or_with_strict_an_error(
    client: TestClient, jpeg: bytes, query: str
) -> None:
    lenient = client.post(f"/compress?{query}", content=jpeg, headers=RAW)
    strict = client.post(f"/compress?{query}&strict=true", content=jpeg, headers=RAW)

    assert (lenient.status_code, lenient.headers["ziggurat-target-met"]) == (201, "false")
    assert 15 < float(lenient.headers["ziggurat-psnr"]) < 60
    assert (strict.status_code, strict.json()["type"]) == (422, "urn:problem-type:ziggurat:target-missed")


def test_the_smaller_of_both_codecs_reaches_the_minima(client: TestClient, jpeg: bytes) -> None:
    made = {
        codec: client.post(
            f"/compress?min_ssimulacra2=20&profile=psnr&codec={codec}",
            content=jpeg,
            headers=RAW | {"Accept": "application/json"},
        ).json()
        for codec in ("learned", "hybrid", "auto")
    }
    assert all(facts["ssimulacra2"] >= 20 for facts in made.values() if facts["target_met"])
    assert made["auto"]["id"] in (made["learned"]["id"], made["hybrid"]["id"])
    assert made["auto"]["bytes"] == min(facts["bytes"] for facts in made.values() if facts["target_met"])
    assert made["auto"]["auto"]["metric"] == "psnr"


def test_a_stream_that_is_larger_than_its_file_says_so(client: TestClient, jpeg: bytes) -> None:
    image = Image.new("RGB", (64, 64), "teal")
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    larger = client.post("/compress?quality=100&codec=hybrid", content=file.getvalue())
    smaller = client.post("/compress?quality=10", content=jpeg, headers=RAW | {"Accept": "application/json"})

    expected = "true" if len(larger.content) > len(file.getvalue()) else None
    assert larger.headers.get("ziggurat-larger-than-source") == expected
    assert smaller.json()["larger_than_source"] is False
    assert "ziggurat-larger-than-source" not in smaller.headers


def test_the_same_request_gives_the_same_id(client: TestClient, jpeg: bytes) -> None:
    ids = {client.post("/compress?bpp=1", content=jpeg, headers=RAW).headers["location"] for _ in range(2)}

    assert len(ids) == 1


def test_a_budget_out_of_reach_gives_the_nearest_or_with_strict_an_error(
    client: TestClient, jpeg: bytes
) -> None:
    lenient = client.post("/compress?max_bytes=10", content=jpeg, headers=RAW)
    strict = client.post("/compress?max_bytes=10&strict=true", content=jpeg, headers=RAW)

    assert (lenient.status_code, lenient.headers["ziggurat-target-met"]) == (201, "false")
    assert (strict.status_code, strict.json()["type"]) == (422, "urn:problem-type:ziggurat:target-missed")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "bpp"),
        ("bpp=1&max_bytes=100", "max_bytes"),
        ("bpp=0", "32"),
        ("bpp=33", "32"),
        ("bpp=nan", "32"),
        ("max_bytes=0", "1"),
        ("quality=101", "100"),
        ("quality=-1", "100"),
        ("bpp=many", "bpp"),
        ("bbp=0.15", "bbp"),
        ("bpp=1&report=vmaf", "report"),
        ("bpp=1&profile=vmaf", "ms-ssim"),
        ("bpp=1&profile=", "ms-ssim"),
        ("bpp=1&codec=jpeg", "hybrid"),
        ("quality=50&codec=auto", "budget"),
        ("quality=50&min_psnr=30", "contradict"),
        ("min_psnr=101", "100"),
        ("min_ms_ssim=1", "min_ms_ssim"),
        ("min_ssimulacra2=100", "100"),
        ("min_vmaf=90", "min_vmaf"),
    ],
)
def test_wrong_parameters_are_named(client: TestClient, jpeg: bytes, query: str, words: str) -> None:
    answer = client.post(f"/compress?{query}", content=jpeg, headers=RAW)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]


def test_damage_that_is_put_up_with_is_told(client: TestClient, jpeg: bytes) -> None:
    cut = jpeg[: len(jpeg) // 2] + b"\xff\xd9"
    warning = "the JPEG image's data end early: a part of the picture is missing"

    stream = client.post("/compress?bpp=1", content=cut, headers=RAW)
    facts = client.post("/compress?bpp=1", content=cut, headers=RAW | {"Accept": "application/json"})
    sound = client.post("/compress?bpp=1", content=jpeg, headers=RAW | {"Accept": "application/json"})

    assert stream.headers["ziggurat-warning"] == warning
    assert facts.json()["warnings"] == [warning]
    assert sound.json()["warnings"] == []
    assert "ziggurat-warning" not in sound.headers


def test_bad_images_are_told_apart(client: TestClient, jpeg: bytes, photo: Image.Image) -> None:
    animation = io.BytesIO()
    large = io.BytesIO()
    photo.save(animation, "GIF", save_all=True, append_images=[photo.rotate(180)])
    Image.new("1", (1001, 1000)).save(large, "PNG")
    bodies = {
        "unsupported-image": b"hello",
        "unsupported-variant": jpeg.replace(b"\xff\xc0", b"\xff\xc3"),
        "damaged-image": jpeg[:1000],
        "animated-image": animation.getvalue(),
        "image-too-large": large.getvalue(),
        "body-too-large": bytes(2_000_001),
    }

    answers = {
        name: client.post("/compress?bpp=1", content=body, headers=RAW) for name, body in bodies.items()
    }

    assert {name: answer.json()["type"].rpartition(":")[2] for name, answer in answers.items()} == {
        name: name for name in bodies
    }
    assert [answer.status_code for answer in answers.values()] == [415, 415, 422, 422, 413, 413]
    assert "2 frames" in answers["animated-image"].json()["detail"]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "text/plain"}, b"hello", 415),
        ({"Content-Type": "image/vnd.ziggurat"}, b"ZGT", 415),
        ({"Content-Type": "multipart/form-data"}, b"hello", 422),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"hello", 422),
        (
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n',
            422,
        ),
        ({"Accept": "text/html"}, b"", 406),
    ],
)
def test_bodies_and_answers_of_other_types_are_refused(
    client: TestClient, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = client.post("/compress?bpp=1", content=body, headers=headers)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_alpha_comes_through(client: TestClient, photo: Image.Image) -> None:
    image = photo.copy()
    file = io.BytesIO()
    image.putalpha(90)
    image.save(file, "PNG")

    made = client.post("/compress?bpp=2", content=file.getvalue(), headers={"Content-Type": "image/png"})
    back = Image.open(io.BytesIO(client.get(made.headers["location"]).content))

    assert back.mode == "RGBA"
    assert back.getchannel("A").getextrema() == (90, 90)


def test_effort_is_asked_for_and_told(client: TestClient, codec: LearnedCodec, jpeg: bytes) -> None:
    answer = client.post("/compress?bpp=0.5&effort=2", content=jpeg, headers=RAW)

    assert answer.status_code == 201
    assert answer.headers["ziggurat-effort"] == "2"
    assert answer.content == Codec(codec).compress(Image.open(io.BytesIO(jpeg)), bpp=0.5, effort=2).data
    facts = client.post(
        "/compress?bpp=0.5&effort=2", content=jpeg, headers=RAW | {"Accept": "application/json"}
    ).json()
    assert (facts["effort"], facts["effort_reached"], facts["id"]) == (2, 2, id_of(answer.content))


def test_without_effort_none_is_told(client: TestClient, jpeg: bytes) -> None:
    assert client.post("/compress?bpp=0.5", content=jpeg, headers=RAW).headers["ziggurat-effort"] == "0"


@pytest.mark.parametrize("effort", ["-1", "10", "2.5", "much"])
def test_effort_is_a_digit(client: TestClient, jpeg: bytes, effort: str) -> None:
    answer = client.post(f"/compress?bpp=0.5&effort={effort}", content=jpeg, headers=RAW)

    assert answer.status_code == 422
    assert "effort" in answer.text


def test_the_hybrid_codec_keeps_the_same_promises(client: TestClient, jpeg: bytes) -> None:
    answer = client.post(
        "/compress?max_bytes=1500&codec=hybrid&report=psnr,ms-ssim", content=jpeg, headers=RAW
    )

    assert answer.status_code == 201
    assert 0.9 * 1500 <= len(answer.content) <= 1500
    assert Bitstream.parse(answer.content).codec is CodecKind.HYBRID
    assert answer.headers["ziggurat-codec"] == "hybrid"
    assert answer.headers["ziggurat-model"] == f"visual/{HybridCodec.model_id}"
    assert "avif;dur=" in answer.headers["server-timing"]
    assert "ziggurat-auto" not in answer.headers
    assert float(answer.headers["ziggurat-ms-ssim"]) > 0.8
    picture = client.get(answer.headers["location"])
    with Image.open(io.BytesIO(picture.content)) as image, Image.open(io.BytesIO(jpeg)) as original:
        error = np.square(np.asarray(image, float) - np.asarray(original, float)).mean()
    assert 10 * np.log10(255**2 / error) == pytest.approx(float(answer.headers["ziggurat-psnr"]), abs=0.01)


@pytest.mark.parametrize("profile", ["psnr", "ms-ssim"])
def test_auto_says_which_codec_it_took_and_by_how_much(client: TestClient, jpeg: bytes, profile: str) -> None:
    query = f"/compress?bpp=0.8&profile={profile}"
    auto = client.post(f"{query}&codec=auto", content=jpeg, headers=RAW | {"Accept": "application/json"})
    alone = {
        codec: client.post(
            f"{query}&codec={codec}&report={profile}",
            content=jpeg,
            headers=RAW | {"Accept": "application/json"},
        ).json()
        for codec in ("learned", "hybrid")
    }

    facts = auto.json()
    measure = profile.replace("-", "_")
    scores = {codec: alone[codec][measure] for codec in alone}
    assert facts["codec"] == max(scores, key=scores.__getitem__)
    assert facts["id"] == alone[facts["codec"]]["id"]
    assert facts["auto"] == {"metric": profile} | {
        codec: pytest.approx(score, abs=1e-4) for codec, score in scores.items()
    }
    assert facts[measure] is None, "nobody asked for a report"
    assert auto.headers["ziggurat-codec"] == facts["codec"]
    assert auto.headers["ziggurat-auto"].startswith(
        f"metric={profile}, learned={facts['auto']['learned']:.5f}, hybrid="
    )


def test_auto_has_text_carried_by_avif_and_makes_photographs_once(client: TestClient) -> None:
    facts = {}
    for name, rgb in (
        ("photograph", drawn.photograph()),
        ("captioned", drawn.captioned(drawn.photograph())[0]),
    ):
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, "PNG")
        made = client.post(
            "/compress?bpp=0.12&codec=auto&report=psnr",
            content=file.getvalue(),
            headers=RAW | {"Accept": "application/json"},
        )
        assert "ziggurat-auto" not in made.headers
        facts[name] = client.get(f"/bitstreams/{made.json()['id']}/info").json()
        assert (made.json()["bpp"] <= 0.12, made.json()["auto"]) == (True, None)
        back = client.get(made.json()["url"], headers={"Accept": "image/png"})
        error = np.square(np.asarray(Image.open(io.BytesIO(back.content)), float) - rgb).mean()
        assert 10 * np.log10(255**2 / error) == pytest.approx(made.json()["psnr"], abs=0.01)
    assert facts["photograph"]["overlay_bytes"] is None
    assert facts["captioned"]["overlay_bytes"] > 100
    assert facts["captioned"]["format_version"] == VERSION


def test_alpha_and_grey_survive_every_codec(client: TestClient, photo: Image.Image) -> None:
    plane = Image.linear_gradient("L").resize(photo.size)
    transparent = photo.copy()
    grey = photo.convert("L")
    transparent.putalpha(plane)
    for codec in ("learned", "hybrid", "auto"):
        for original, mode in ((transparent, "RGBA"), (grey, "L")):
            file = io.BytesIO()
            original.save(file, "PNG")
            answer = client.post(
                f"/compress?bpp=8&codec={codec}",
                content=file.getvalue(),
                headers={"Content-Type": "image/png"},
            )
            with Image.open(io.BytesIO(client.get(answer.headers["location"]).content)) as image:
                assert image.mode == mode
                assert mode == "L" or np.array_equal(np.asarray(image)[..., 3], np.asarray(plane))


def test_unknown_parameters_are_told_the_known_ones(client: TestClient, jpeg: bytes) -> None:
    detail = client.post("/compress?bbp=0.15", content=jpeg, headers=RAW).json()["detail"]

    assert all(name in detail for name in ("bbp", "bpp", "max_bytes", "quality", "strict"))


@pytest.mark.parametrize("query", ["report=" + "a," * 3000, "report=psnr&" * 600, "a&" * 3000])
def test_long_lists_in_a_url_are_refused_at_once_and_in_few_words(
    client: TestClient, jpeg: bytes, query: str
) -> None:
    answer = client.post(f"/compress?bpp=1&{query}", content=jpeg, headers=RAW)

    assert answer.status_code == 422
    assert len(answer.content) < 5000


def test_a_quality_a_little_too_high_is_not_called_the_highest(client: TestClient, jpeg: bytes) -> None:
    detail = client.post("/compress?quality=100.0001", content=jpeg, headers=RAW).json()["detail"]

    assert "100.0001" in detail


def test_pictures_too_large_for_effort_are_compressed_without(
    client: TestClient, jpeg: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Image.open(io.BytesIO(jpeg)) as image:
        pixels = image.width * image.height
    done = []
    for most in (pixels, pixels - 1):
        monkeypatch.setattr(coder, "MAX_EFFORT_PIXELS", most)
        answer = client.post("/compress?bpp=1&effort=1", content=jpeg, headers=RAW)
        done.append((answer.status_code, answer.headers["ziggurat-effort"]))

    assert done == [(201, "1"), (201, "0")]


@pytest.fixture(scope="module")
def photograph(photo: Image.Image) -> bytes:
    """As a phone makes it: on its side, with EXIF, XMP, a place and a profile."""
    file = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = b"Exif\0\0" + samples.exif()
    photo.save(file, "JPEG", quality=90, exif=exif, xmp=samples.XMP, icc_profile=profile)
    return file.getvalue()


def test_what_was_dropped_is_said(client: TestClient, photograph: bytes, jpeg: bytes) -> None:
    dropped = ["exif", "icc", "xmp"]
    answer = client.post("/compress?quality=30", content=photograph)
    facts = client.post("/compress?quality=30", content=photograph, headers={"Accept": "application/json"})
    encoded = client.post("/encode?format=webp&max_bytes=9000", content=photograph)

    assert answer.headers["ziggurat-dropped"] == encoded.headers["ziggurat-dropped"] == ", ".join(dropped)
    assert (facts.json()["dropped"], facts.json()["metadata_bytes"]) == (dropped, None)
    assert Bitstream.parse(answer.content).version == 3
    assert "ziggurat-dropped" not in client.post("/compress?quality=30", content=jpeg).headers


@pytest.mark.parametrize("codec", ["learned", "hybrid", "auto"])
def test_metadata_is_carried_within_the_budget_and_comes_back(
    client: TestClient, photograph: bytes, codec: str
) -> None:
    answer = client.post(f"/compress?max_bytes=1200&metadata=keep&codec={codec}", content=photograph)

    assert answer.headers["ziggurat-dropped"] == "icc, gps, maker-note, thumbnail"
    assert 0.95 * 1200 < len(answer.content) <= 1200
    assert answer.headers["ziggurat-target-bpp"] == f"{8 * 1200 / (128 * 96):.6f}"
    assert codec != "learned" or answer.headers["ziggurat-target-met"] == "true"
    assert Bitstream.parse(answer.content).version == 4
    info = client.get(f"/bitstreams/{id_of(answer.content)}/info").json()
    assert info["format_version"] == 4
    assert 300 < info["metadata_bytes"] < 450
    for format in ("png", "jpeg", "webp", "avif"):
        picture = client.get(answer.headers["location"], params={"format": format})
        with Image.open(io.BytesIO(picture.content)) as image:
            exif = image.getexif()
            assert image.size == (96, 128)
            assert exif[ExifTags.Base.Make] == "Ziggurat"
            assert exif.get(ExifTags.Base.Orientation, 1) == 1
            assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
            assert b"Tour &amp; d" in image.info["xmp"]


def test_the_place_is_kept_only_when_asked_for(client: TestClient, photograph: bytes) -> None:
    answer = client.post("/compress?quality=30&metadata=keep-with-gps", content=photograph)

    assert answer.headers["ziggurat-dropped"] == "icc, maker-note, thumbnail"
    with Image.open(io.BytesIO(client.get(answer.headers["location"]).content)) as image:
        place = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    assert place[ExifTags.GPS.GPSLatitude] == samples.LATITUDE
    assert client.post("/compress?quality=30&metadata=all", content=photograph).status_code == 422


def test_a_budget_that_metadata_leaves_no_room_in_is_missed_and_strict_refuses_it(
    client: TestClient, photograph: bytes
) -> None:
    missed = client.post("/compress?max_bytes=420&metadata=keep", content=photograph)
    strict = client.post("/compress?max_bytes=420&metadata=keep&strict=true", content=photograph)

    assert missed.headers["ziggurat-target-met"] == "false"
    assert (strict.status_code, strict.json()["type"]) == (422, "urn:problem-type:ziggurat:target-missed")


def test_damaged_metadata_is_refused_as_such(client: TestClient, jpeg: bytes) -> None:
    stream = Bitstream.parse(client.post("/compress?quality=30", content=jpeg).content)
    answer = client.post("/decompress", content=replace(stream, metadata=b"no deflate").to_bytes())

    assert (answer.status_code, answer.json()["type"]) == (422, "urn:problem-type:ziggurat:damaged-stream")
