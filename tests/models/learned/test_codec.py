"""LearnedCodec: on the tiny golden model where any model will do, on the shipped ones where quality
counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from models import Picture, Target
from models.bitstream import Bitstream, CodecKind
from models.errors import (
    DamagedStreamError,
    SourceError,
    StreamTooLargeError,
    UnknownModelError,
    WeightsError,
)
from models.grid import tiles
from models.learned.codec import LearnedCodec
from models.learned.model import CodecModel
from models.postprocess import sources
from models.progress import Progress
from models.weights.registry import available, weights
from tests.make_golden import FIXTURES, GOLDEN, golden_picture, symbols_digest, tiny_card
from tests.post import tiny_post_processor

EXPECTED = json.loads((GOLDEN / "symbols.json").read_text())


def psnr(a: Picture, b: Picture) -> float:
    return float(-10 * np.log10(np.square(a.rgb / 255 - b.rgb / 255).mean() + 1e-10))


def test_golden_streams_decode_to_the_same_integers_for_ever(tiny: LearnedCodec) -> None:
    assert tiny.model_id == EXPECTED["model_id"]
    for name, digest in EXPECTED["symbols"].items():
        assert symbols_digest(tiny, (GOLDEN / name).read_bytes()) == digest


@pytest.mark.parametrize("bfloat16", [False, True])
def test_streams_decode_alike_in_either_precision_and_any_batch(bfloat16: bool) -> None:
    model = CodecModel.load(FIXTURES / "tiny.safetensors")
    codec = LearnedCodec(model, tiny_card(model.model_id), bfloat16=bfloat16)
    streams = [(GOLDEN / name).read_bytes() for name in EXPECTED["symbols"]]
    assert [symbols_digest(codec, data) for data in streams] == list(EXPECTED["symbols"].values())
    together = codec.decode(streams * 3)
    for data, picture in zip(streams * 3, together, strict=True):
        assert psnr(codec.decode([data])[0], picture) > 50


@pytest.mark.parametrize("bpp", [0.1, 0.2, 0.4])
def test_a_photograph_comes_back_within_its_budget(shipped: LearnedCodec, bpp: float) -> None:
    photo = golden_picture()
    stream = shipped.encode([photo], [Target(bpp=bpp)])[0]
    assert stream.target_met
    budget = int(bpp * photo.pixels / 8)
    assert budget - max(8, 0.01 * budget) <= len(stream.data) <= budget
    assert psnr(photo, shipped.decode([stream.data])[0]) > {0.1: 25, 0.2: 28, 0.4: 30}[bpp]


def test_rate_control_predicts_what_the_coder_writes(shipped: LearnedCodec) -> None:
    qualities = (0.0, 30.0, 60.0, 100.0)
    for quantised in shipped.quantise(
        [golden_picture()] * 4, [Target(quality=quality) for quality in qualities]
    ):
        written = len(shipped.symbol_codec.write(quantised).data)
        assert abs(quantised.predicted_bytes - written) <= max(0.005 * written, 8)


def test_a_batch_gives_the_streams_of_its_members(shipped: LearnedCodec) -> None:
    photo = golden_picture()
    turned = Picture.from_array(np.ascontiguousarray(photo.rgb.transpose(1, 0, 2)))
    pictures = [photo, turned, photo, photo]
    targets = [Target(bpp=0.3), Target(quality=40), Target(max_bytes=900), Target(bpp=0.1)]
    together = shipped.encode(pictures, targets)
    alone = [
        shipped.encode([picture], [target])[0] for picture, target in zip(pictures, targets, strict=True)
    ]
    for batched, single, decoded in zip(
        together, alone, shipped.decode([stream.data for stream in together]), strict=True
    ):
        # Floats of other batches may round a residual to the other side; the streams then differ,
        # but neither is wrong.
        assert len(batched.data) == pytest.approx(len(single.data), rel=0.01)
        assert psnr(decoded, shipped.decode([single.data])[0]) > 40


@pytest.fixture(scope="module")
def tiled(codec: LearnedCodec) -> LearnedCodec:
    return LearnedCodec(CodecModel.load(weights(codec.name)), codec.card, tile=2)


def test_a_picture_in_tiles_is_the_picture_in_one(codec: LearnedCodec, tiled: LearnedCodec) -> None:
    rgb = np.tile(golden_picture().rgb, (2, 2, 1))[:283, :333]  # neither whole tiles nor whole blocks
    for picture in (Picture.from_array(rgb), Picture.from_image(Image.fromarray(rgb).convert("L"))):
        whole = codec.encode([picture], [Target(bpp=0.3)])[0]
        one, other = (
            each.decode([whole.data], postprocess="off")[0].rgb.astype(int) for each in (codec, tiled)
        )
        assert np.abs(one - other).max() <= 1
        assert np.mean(one != other) < 1e-4
        # In floats that end on a rounding's edge the encoders may differ, by a symbol of thousands.
        a, b = (each.quantise([picture], [Target(quality=whole.quality)])[0] for each in (codec, tiled))
        assert np.mean(a.symbols.z != b.symbols.z) < 1e-3
        assert np.mean(a.symbols.residuals != b.symbols.residuals) < 1e-3
        stream = tiled.encode([picture], [Target(bpp=0.3)])[0]
        assert stream.target_met
        assert len(stream.data) == pytest.approx(len(whole.data), rel=0.01)


def test_without_its_halo_a_tile_shows(
    codec: LearnedCodec, tiled: LearnedCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Picture.from_array(np.tile(golden_picture().rgb, (2, 2, 1)))
    data = codec.encode([picture], [Target(bpp=0.3)])[0].data
    monkeypatch.setattr(
        "models.learned.transforms.tiles",
        lambda rows, columns, side, *_, **undivided: tiles(rows, columns, side, halo=1, **undivided),
    )
    one, other = (each.decode([data], postprocess="off")[0].rgb.astype(int) for each in (codec, tiled))
    assert np.abs(one - other).max() > 1


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (1, 300), (17, 15), (16, 16), (63, 65), (64, 64), (130, 3), (16384, 1)]
)
def test_every_size_comes_back_as_it_was(tiny: LearnedCodec, width: int, height: int) -> None:
    rows, columns = np.mgrid[0:height, 0:width]
    picture = Picture.from_array(
        np.stack([rows % 256, columns % 256, (rows + columns) % 256], 2).astype(np.uint8)
    )
    stream = tiny.encode([picture], [Target(quality=50)])[0]
    decoded = tiny.decode([stream.data])[0]
    assert (decoded.width, decoded.height) == (width, height) == (stream.width, stream.height)


def test_alpha_is_lossless_and_counted(tiny: LearnedCodec) -> None:
    rgb = golden_picture().rgb
    alpha = np.linspace(0, 255, rgb.shape[1]).astype(np.uint8)[None].repeat(rgb.shape[0], 0)
    stream = tiny.encode([Picture(rgb, alpha, False)], [Target(max_bytes=1200)])[0]
    assert len(stream.data) <= 1200
    decoded = tiny.decode([stream.data])[0]
    assert decoded.alpha is not None
    assert np.array_equal(decoded.alpha, alpha)


def test_an_impossible_budget_gives_the_smallest_stream_and_says_so(shipped: LearnedCodec) -> None:
    stream = shipped.encode([golden_picture()], [Target(max_bytes=20)])[0]
    assert (stream.target_met, stream.quality) == (False, 0.0)
    generous = shipped.encode([golden_picture()], [Target(max_bytes=10_000_000)])[0]
    assert (generous.target_met, generous.quality) == (False, 100.0)


def test_streams_of_another_model_are_refused(tiny: LearnedCodec, shipped: LearnedCodec) -> None:
    data = tiny.encode([golden_picture()], [Target(quality=10)])[0].data
    with pytest.raises(UnknownModelError) as caught:
        shipped.decode([data])
    assert caught.value.model_id == tiny.model_id


def test_the_pixel_limit_holds(tiny: LearnedCodec) -> None:
    data = tiny.encode([golden_picture()], [Target(quality=10)])[0].data
    with pytest.raises(StreamTooLargeError):
        tiny.decode([data], max_pixels=1000)


@pytest.mark.parametrize("alpha", [b"not a png", b"", (FIXTURES / "photo.png").read_bytes()])
def test_a_foreign_alpha_section_is_damage(tiny: LearnedCodec, alpha: bytes) -> None:
    stream = Bitstream.parse(tiny.encode([golden_picture()], [Target(quality=10)])[0].data)
    fields = {name: getattr(stream, name) for name in Bitstream.__dataclass_fields__}
    with pytest.raises(DamagedStreamError):
        tiny.decode([Bitstream(**{**fields, "alpha": alpha}).to_bytes()])


@pytest.mark.parametrize("alpha", ["random", "flat"])
def test_a_plane_is_never_too_long_but_one_padded_with_chunks_is(tiny: LearnedCodec, alpha: str) -> None:
    rgb = golden_picture().rgb[:50, :30]
    plane = (
        np.random.default_rng(0).integers(0, 256, rgb.shape[:2], np.uint8)
        if alpha == "random"
        else np.full(rgb.shape[:2], 9, np.uint8)
    )
    data = tiny.encode([Picture(rgb, plane, False)], [Target(quality=10)])[0].data
    stream = Bitstream.parse(data)
    assert stream.alpha is not None
    empty_chunk = b"\0\0\0\0abCdx\x06\xe9\xb3"
    padded = dataclasses.replace(stream, alpha=stream.alpha[:33] + 1000 * empty_chunk + stream.alpha[33:])

    decoded = tiny.decode([data])[0].alpha
    assert decoded is not None
    assert np.array_equal(decoded, plane)
    with pytest.raises(DamagedStreamError, match="longer"):
        tiny.decode([padded.to_bytes()])


def test_swapped_sections_are_damage_or_pixels_never_a_crash(tiny: LearnedCodec) -> None:
    stream = Bitstream.parse(tiny.encode([golden_picture()], [Target(quality=60)])[0].data)
    fields = {name: getattr(stream, name) for name in Bitstream.__dataclass_fields__}
    for z, y in ((stream.y, stream.z), (b"", b""), (stream.z, stream.y * 2), (b"\xff" * 50, b"\xff" * 50)):
        with contextlib.suppress(DamagedStreamError):
            tiny.decode([Bitstream(**{**fields, "z": z, "y": y}).to_bytes()])
    with pytest.raises(UnknownModelError):
        tiny.decode([Bitstream(**{**fields, "z": b"", "codec": CodecKind.HYBRID}).to_bytes()])


def test_streams_recommend_post_processing_where_it_was_trained(tiny: LearnedCodec) -> None:
    post = tiny_post_processor((tiny.model_id,), finest=0.4)
    codec = LearnedCodec(CodecModel.load(FIXTURES / "tiny.safetensors"), tiny.card, post_processor=post)
    photo = golden_picture()
    coarse, fine = (
        stream.data for stream in codec.encode([photo] * 2, [Target(quality=20), Target(quality=80)])
    )
    assert [Bitstream.parse(data).postprocess for data in (coarse, fine)] == [True, False]

    plain = codec.decode([coarse, fine], postprocess="off")
    improved = post.improve(plain[:1], [sources.read(coarse)])[0]
    for decoded in (
        codec.decode([fine, coarse])[1],
        codec.decode([coarse])[0],
        codec.decode([coarse], postprocess="on")[0],
    ):
        np.testing.assert_array_equal(decoded.rgb, improved.rgb)
    np.testing.assert_array_equal(codec.decode([fine])[0].rgb, plain[1].rgb)
    np.testing.assert_array_equal(
        tiny.decode([coarse])[0].rgb, plain[0].rgb
    )  # there is no post-processor at hand
    with pytest.raises(SourceError):
        codec.decode([fine], postprocess="on")
    with pytest.raises(SourceError):
        tiny.decode([coarse], postprocess="on")


def test_threads_may_share_one_codec(tiny: LearnedCodec) -> None:
    """The service runs one codec on several threads at a time."""
    pictures = [
        Picture.from_array(np.ascontiguousarray(golden_picture().rgb[:, :side]))
        for side in (64, 100, 150, 192)
    ]
    alone = [tiny.encode([picture], [Target(bpp=0.4)])[0].data for picture in pictures]

    def work(picture: Picture) -> tuple[bytes, Picture]:
        data = tiny.encode([picture], [Target(bpp=0.4)])[0].data
        return data, tiny.decode([data])[0]

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(work, pictures * 4))

    assert [data for data, _ in together] == alone * 4
    for (data, decoded), picture in zip(together, pictures * 4, strict=True):
        np.testing.assert_array_equal(decoded.rgb, tiny.decode([data])[0].rgb)
        assert decoded.width == picture.width


def test_weights_and_card_must_agree() -> None:
    model = CodecModel.load(weights(available()[0]))
    with pytest.raises(WeightsError):
        LearnedCodec(model, tiny_card("00000000"))


class Left(Exception):
    """Nobody waits any more."""


class Pauses(Progress):
    """Counts pauses, and raises at one of them. Each computes something in between."""

    def __init__(self, last: float = math.inf, between: Callable[[], object] = int) -> None:
        self.count = 0
        self._last = last
        self._between = between

    def pause(self) -> None:
        self.count += 1
        if self.count >= self._last:
            raise Left
        self._between()


def test_what_runs_in_pauses_is_in_nobodys_way_and_nobody_in_its(tiny: LearnedCodec) -> None:
    """Autocast is of the layers around a pause, and not of what runs in it: the scale decoder's
    sums would be rounded."""
    codec = LearnedCodec(CodecModel.load(FIXTURES / "tiny.safetensors"), tiny.card, tile=1, bfloat16=True)
    rgb = golden_picture().rgb
    whole = Picture.from_array(rgb)
    small = Picture.from_array(rgb[:30, :40])
    plain = [codec.encode([picture], [Target(quality=60)])[0].data for picture in (whole, small)]
    made: list[bytes] = []

    def others() -> None:
        (stream,) = codec.encode([small], [Target(quality=60)])
        codec.decode([stream.data])
        made.append(stream.data)

    progress = Pauses(between=others)
    (quantised,) = codec.quantise([whole], [Target(quality=60)], progress=progress)
    assert codec.symbol_codec.write(quantised).data == plain[0]
    during_reconstruction = len(made)
    (decoded,) = codec.reconstruct([quantised.symbols], progress)
    assert np.array_equal(decoded.rgb, codec.decode([plain[0]], postprocess="off")[0].rgb)
    assert len(made) > during_reconstruction > 20
    assert set(made) == {plain[1]}


@pytest.mark.parametrize("last", [1, 5, 20])
def test_a_pause_that_raises_ends_any_work(tiny: LearnedCodec, last: int) -> None:
    codec = LearnedCodec(CodecModel.load(FIXTURES / "tiny.safetensors"), tiny.card, tile=1)
    picture = Picture.from_array(np.tile(golden_picture().rgb, (3, 3, 1)))
    (quantised,) = codec.quantise([picture], [Target(bpp=1)])
    work: list[Callable[[Progress], object]] = [
        lambda progress: codec.quantise([picture], [Target(bpp=1)], progress=progress),
        lambda progress: codec.quantise([picture], [Target(bpp=1)], effort=2, progress=progress),
        lambda progress: codec.reconstruct([quantised.symbols], progress),
        lambda progress: codec.symbol_codec.write(quantised, progress),
        lambda progress: codec.symbol_codec.read(
            Bitstream.parse(codec.symbol_codec.write(quantised).data), progress
        ),
    ]
    for piece in work:
        progress = Pauses(last)
        with pytest.raises(Left):
            piece(progress)
        assert progress.count == last
