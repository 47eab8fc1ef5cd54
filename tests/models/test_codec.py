"""Codec: one picture at a time, with either codec or the better of both."""

from __future__ import annotations

import re
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from models import Picture, Stream, Target
from models.bitstream import VERSION, Bitstream, CodecKind
from models.codec import Codec, CodecName, choose
from models.errors import NotAStreamError, OptionError, PictureError, TargetError
from models.learned.codec import LearnedCodec
from models.metadata import Metadata
from models.mixed import choice
from models.overlay.cells import content
from models.progress import Progress
from models.rate_control import Score
from models.rate_control.target import CLOSE_BYTES
from models.stream import Comparison
from tests.make_golden import golden_picture
from tests.models.metadata import samples
from tests.models.overlay.samples import captioned, page, photograph


def stream(codec: CodecKind, size: int, budget: int = 100) -> Stream:
    target = Target(max_bytes=budget)
    return Stream(
        bytes(size),
        width=10,
        height=10,
        quality=5,
        model="x",
        probes=1,
        target=target,
        target_met=size <= budget,
        codec=codec,
    )


@pytest.mark.parametrize(
    ("learned", "hybrid", "scores", "chosen"),
    [
        (90, 90, (30.0, 31.0), CodecKind.HYBRID),
        (90, 90, (31.0, 30.0), CodecKind.LEARNED),
        (90, 120, (20.0, 31.0), CodecKind.LEARNED),
        (120, 90, (31.0, 20.0), CodecKind.HYBRID),
        (120, 130, (30.0, 31.0), CodecKind.HYBRID),
        (95, 90, (30.0, 30.0), CodecKind.HYBRID),
        (90, 95, (30.0, 30.0), CodecKind.LEARNED),
    ],
)
def test_the_better_within_the_budget_is_chosen(
    learned: int, hybrid: int, scores: tuple[float, float], chosen: CodecKind
) -> None:
    compared = Comparison("psnr", *scores)
    made = choose(stream(CodecKind.LEARNED, learned), stream(CodecKind.HYBRID, hybrid), compared)
    assert made.codec is chosen
    assert made.auto == compared


@pytest.fixture
def untold(photo: Image.Image) -> Picture:
    """A picture that does not tell which codec is better: most of it is flat."""
    rgb = np.array(photo)
    rgb[:64] = (60, 90, 160)
    assert choice(content(rgb)) == "both"
    return Picture.from_array(rgb)


def test_where_the_picture_does_not_tell_auto_is_the_better(shipped: LearnedCodec, untold: Picture) -> None:
    streams = {codec: Codec(shipped).compress(untold, bpp=1.0, codec=codec) for codec in get_args(CodecName)}
    scores = {
        codec: shipped.score(Picture.from_image(Codec(shipped).decompress(made.data)), untold, shipped.metric)
        for codec, made in streams.items()
    }

    auto = streams["auto"]
    assert auto.data == streams[auto.codec.name.lower()].data
    assert auto.auto == Comparison(shipped.metric, scores["learned"], scores["hybrid"])
    assert auto.chosen == "both"
    assert scores["auto"] == max(scores.values())
    assert shipped.metric == {"visual": "ms-ssim"}.get(shipped.name, shipped.name)


def test_a_photograph_is_learned_and_a_page_is_hybrid(codec: LearnedCodec) -> None:
    expected: dict[CodecName, NDArray[np.uint8]] = {"learned": photograph(), "hybrid": page()}
    for kind, picture in expected.items():
        made = Codec(codec).compress(picture, bpp=0.12, codec="auto")
        assert made.data == Codec(codec).compress(picture, bpp=0.12, codec=kind).data
        assert (made.chosen, made.auto) == (kind, None)


@pytest.mark.parametrize("mode", ["RGB", "LA"])
def test_a_caption_is_nearer_to_the_original_than_learned_alone(codec: LearnedCodec, mode: str) -> None:
    rgb, where = captioned(photograph())
    image = Image.fromarray(rgb).convert(mode)
    if mode == "LA":
        image.putalpha(77)
    original = Picture.from_image(image).rgb[where].astype(int)
    lying = sideways(image.transpose(Image.Transpose.ROTATE_90))
    made = {
        kind: Codec(codec).compress(lying, bpp=0.2, codec=kind, metadata="keep")
        for kind in ("learned", "auto")
    }
    assert made["auto"].chosen == "mixed"
    assert Bitstream.parse(made["auto"].data).version == VERSION
    errors = []
    for stream in made.values():
        assert stream.target_met
        assert stream.bpp <= 0.2
        decoded = Codec(codec).decompress(stream.data)
        assert (decoded.mode, b"Ziggurat" in decoded.info["exif"]) == (mode, True)
        errors.append(np.square(Picture.from_image(decoded).rgb[where] - original).mean())
    assert errors[1] < 0.8 * errors[0]


def test_a_caption_with_a_minimum_is_the_smallest_that_reaches_it(codec: LearnedCodec) -> None:
    rgb, _ = captioned(photograph())
    made = Codec(codec).compress(rgb, min_psnr=27, codec="auto")
    assert made.chosen in ("mixed", "both")
    assert made.target_met
    decoded = Picture.from_image(Codec(codec).decompress(made.data))
    assert codec.score(decoded, Picture.from_array(rgb), "psnr") == pytest.approx(made.scores["psnr"])
    assert 27 <= made.scores["psnr"] < 28, "not much more"


def test_a_budget_above_the_models_range_is_for_both(codec: LearnedCodec, photo: Image.Image) -> None:
    assert choice(content(np.asarray(photo))) == "learned"
    made = Codec(codec).compress(photo, bpp=8, codec="auto")
    assert (made.chosen, made.codec) == ("both", CodecKind.HYBRID)


def test_what_is_too_coarse_for_an_overlay_has_none(codec: LearnedCodec) -> None:
    rgb, _ = captioned(photograph())
    made = Codec(codec).compress(rgb, bpp=0.05, codec="auto")
    assert made.chosen == "both"
    assert Bitstream.parse(made.data).overlay is None


def test_without_room_for_an_overlay_both_are_made(codec: LearnedCodec) -> None:
    rgb, _ = captioned(photograph())
    made = Codec(codec).compress(rgb, max_bytes=1000, codec="auto")
    assert made.chosen == "both"
    assert len(made.data) <= 1000


def test_without_a_budget_there_is_nothing_to_compare_at(tiny: LearnedCodec, photo: Image.Image) -> None:
    with pytest.raises(TargetError, match="budget"):
        Codec(tiny).compress(photo, quality=50, codec="auto")


@pytest.mark.parametrize("kind", ["learned", "hybrid"])
def test_minima_hold_for_the_picture_that_is_decoded(
    shipped: LearnedCodec, photo: Image.Image, kind: CodecName
) -> None:
    codec = Codec(shipped)
    picture = Picture.from_image(photo)
    middle = codec.compress(picture, quality=50, codec=kind)
    wanted = _scores(shipped, middle, picture)
    made = codec.compress(
        picture, min_psnr=wanted["psnr"] - 0.05, min_ms_ssim=wanted["ms-ssim"] - 0.001, codec=kind
    )
    scores = _scores(shipped, made, picture)
    assert made.target_met
    assert made.scores == pytest.approx({"psnr": scores["psnr"], "ms-ssim": scores["ms-ssim"]})
    assert scores["psnr"] >= wanted["psnr"] - 0.05
    assert scores["ms-ssim"] >= wanted["ms-ssim"] - 0.001
    assert len(made.data) <= 1.05 * len(middle.data) + CLOSE_BYTES

    within = codec.compress(
        picture, max_bytes=len(middle.data) // 2, min_ssimulacra2=wanted["ssimulacra2"], codec=kind
    )
    assert not within.target_met
    assert len(within.data) <= len(middle.data) // 2


def test_with_minima_auto_is_the_smaller_that_reaches_them(shipped: LearnedCodec, untold: Picture) -> None:
    made = [Codec(shipped).compress(untold, min_ms_ssim=0.93, codec=kind) for kind in get_args(CodecName)]
    assert all(stream.target_met for stream in made)
    learned, hybrid, auto = made
    assert auto.data == min((learned.data, hybrid.data), key=len)
    assert auto.auto is not None
    if shipped.metric == "ms-ssim":
        assert auto.auto.of(auto.codec) == pytest.approx(auto.scores["ms-ssim"])


def test_effort_makes_what_reaches_the_minima_smaller(shipped: LearnedCodec, photo: Image.Image) -> None:
    plain = Codec(shipped).compress(photo, min_psnr=27)
    refined = Codec(shipped).compress(photo, min_psnr=27, effort=1)
    assert plain.target_met
    assert refined.target_met
    assert len(refined.data) <= len(plain.data)


def test_minima_are_for_what_decodes(tiny: LearnedCodec, photo: Image.Image) -> None:
    target = Target(min_psnr=30)
    picture = Picture.from_image(photo)
    with pytest.raises(TargetError, match="minima"):
        tiny.encode([picture], [target])
    with pytest.raises(TargetError, match="minima"):
        Codec(tiny).hybrid.encode(picture, target)


def _scores(learned: LearnedCodec, stream: Stream, original: Picture) -> dict[Score, float]:
    decoded = Picture.from_image(Codec(learned).decompress(stream.data))
    return {score: learned.score(decoded, original, score) for score in get_args(Score)}


def test_alpha_survives_auto(tiny: LearnedCodec, photo: Image.Image) -> None:
    image = photo.copy()
    image.putalpha(Image.fromarray(np.tile(np.arange(128, dtype=np.uint8), (96, 1))))
    back = Codec(tiny).decompress(Codec(tiny).compress(image, bpp=4, codec="auto").data)
    assert np.array_equal(np.asarray(back)[..., 3], np.asarray(image)[..., 3])


def test_greyscale_stays_grey(tiny: LearnedCodec) -> None:
    image = golden_picture().to_image().convert("L")
    restored = Codec(tiny).decompress(Codec(tiny).compress(image, quality=70).data)
    assert restored.mode == "L"


def test_compress_takes_images_and_arrays(tiny: LearnedCodec) -> None:
    photo = golden_picture()
    streams = [Codec(tiny).compress(image, quality=30).data for image in (photo, photo.rgb, photo.to_image())]
    assert streams[0] == streams[1] == streams[2]
    assert isinstance(Codec(tiny).decompress(streams[0]), Image.Image)
    with pytest.raises(TargetError):
        Codec(tiny).compress(photo, bpp=0.1, quality=3)


def test_either_kind_of_stream_comes_back(tiny: LearnedCodec, photo: Image.Image) -> None:
    codec = Codec(tiny)
    assert (codec.name, codec.model_id, codec.metric) == (tiny.name, tiny.model_id, tiny.metric)
    for kind in ("learned", "hybrid"):
        made = codec.compress(photo, bpp=2, codec=kind)
        assert Bitstream.parse(made.data).codec.name.lower() == kind
        assert codec.decompress(made.data).size == photo.size


def test_progress_covers_both_codecs_of_auto(tiny: LearnedCodec, untold: Picture) -> None:
    told: list[float] = []

    class Told(Progress):
        def advance(self, done: int, of: int) -> bool:
            told.append(done / of)
            return True

    Codec(tiny).compress(untold, bpp=1, codec="auto", effort=3, progress=Told())
    assert told == sorted(told)
    assert min(told) < 0.5 < max(told)


@pytest.mark.parametrize("option", [{"codec": "foo"}, {"effort": 10}, {"codec": "hybrid", "effort": -1}])
def test_an_option_without_such_a_value_is_an_error(
    shipped: LearnedCodec, photo: Image.Image, option: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match=str([*option.values()][-1])):
        Codec(shipped).compress(photo, bpp=1, **option)


def test_other_options_without_such_a_value_are_errors_too(shipped: LearnedCodec, photo: Image.Image) -> None:
    wrong: Any = "foo"
    for codec in ("learned", "hybrid"):
        data = Codec(shipped).compress(photo, bpp=1, codec=codec).data
        with pytest.raises(OptionError, match="foo"):
            Codec(shipped).decompress(data, postprocess=wrong)
    with pytest.raises(OptionError, match="foo"):
        Codec.load("psnr", device=wrong)


@pytest.mark.parametrize("given", ["photo.jpg", b"\xff\xd8", None])
def test_what_is_no_image_is_a_picture_error(shipped: LearnedCodec, given: Any) -> None:
    with pytest.raises(PictureError, match="a Pillow image or an array"):
        Codec(shipped).compress(given, bpp=1)


def test_what_is_no_stream_is_an_error_and_any_buffer_is_read(
    shipped: LearnedCodec, photo: Image.Image
) -> None:
    codec = Codec(shipped)
    made = codec.compress(photo, bpp=1)
    wrong: Any
    for wrong, remedy in (("photo.zgt", "read_bytes()"), (made, ".data"), (None, "NoneType"), (7, "int")):
        with pytest.raises(NotAStreamError, match=re.escape(remedy)):
            codec.decompress(wrong)
    buffers: Any
    for buffers in (bytearray(made.data), memoryview(made.data)):
        assert codec.decompress(buffers).size == photo.size


@pytest.mark.parametrize("codec", ["learned", "hybrid", "auto"])
@pytest.mark.parametrize("mode", ["RGB", "LA"])
def test_metadata_is_carried_within_the_budget(
    shipped: LearnedCodec, photo: Image.Image, codec: CodecName, mode: str
) -> None:
    image = photo.convert(mode)
    if mode == "LA":
        image.putalpha(77)
    made = Codec(shipped).compress(sideways(image), max_bytes=1000, codec=codec, metadata="keep")
    assert len(made.data) <= 1000
    assert made.target_met or codec != "learned", "AVIF has no setting for every size"
    assert made.target == Target(max_bytes=1000)
    assert (made.width, made.height) == (96, 128), "it is turned upright"
    decoded = Codec(shipped).decompress(made.data)
    exif = decoded.getexif()
    assert (exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation]) == ("Ziggurat", 1)
    assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert b'tiff:Orientation="1"' in decoded.info["xmp"]


def test_metadata_is_kept_only_when_asked_for(shipped: LearnedCodec, photo: Image.Image) -> None:
    plain, image = Codec(shipped).compress(photo, quality=30), sideways(photo)
    image.info["xmp"] = samples.XMP.decode()
    assert Codec(shipped).compress(image, quality=30).data == plain.data
    placed = Codec(shipped).compress(image, quality=30, metadata="keep-with-gps")
    assert b"GPSLatitude" in Codec(shipped).decompress(placed.data).info["xmp"]
    assert Codec(shipped).compress(np.asarray(photo), quality=30, metadata="keep").data == plain.data
    given = Codec(shipped).compress(photo, quality=30, metadata=Metadata(xmp=samples.XMP))
    assert "exif" not in Codec(shipped).decompress(given.data).info
    with pytest.raises(OptionError, match="keep-with-gps"):
        Codec(shipped).compress(photo, quality=30, metadata="all")  # type: ignore[arg-type]


def test_metadata_that_pillow_has_parsed_is_kept(shipped: LearnedCodec, photo: Image.Image) -> None:
    """A TIFF file's, or what somebody has made for an image, is not in its `info`."""
    image = photo.copy()
    image.getexif()[ExifTags.Base.Artist] = "somebody"
    made = Codec(shipped).compress(image, quality=30, metadata="keep")
    assert Codec(shipped).decompress(made.data).getexif()[ExifTags.Base.Artist] == "somebody"


def sideways(image: Image.Image) -> Image.Image:
    """The image as a camera held on its side has it."""
    image = image.copy()
    image.info |= {"exif": b"Exif\0\0" + samples.exif(), "xmp": samples.XMP}
    return image
