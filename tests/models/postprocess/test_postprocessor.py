"""models.postprocess.postprocessor"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from models import Picture
from models.bitstream import Bitstream
from models.codec import Codec
from models.errors import SourceError, WeightsError
from models.learned.codec import LearnedCodec
from models.metrics import score
from models.postprocess import model as post_model
from models.postprocess import sources
from models.postprocess.model import Trained
from models.postprocess.postprocessor import FILES, UNIT, Postprocess, PostProcessor, decide
from models.postprocess.sources import Source
from models.progress import Progress
from tests.make_golden import golden_picture
from tests.post import tiny_post_card, tiny_post_model, tiny_post_processor

AVIF, JPEG = Source("avif", 0.7), Source("jpeg", 0.7)


@pytest.fixture(scope="module")
def post() -> PostProcessor:
    return tiny_post_processor()


def largest_difference(a: Picture, b: Picture) -> int:
    return int(np.abs(a.rgb.astype(int) - b.rgb).max())


def test_it_changes_what_it_gets_and_nothing_else(post: PostProcessor, photo: Image.Image) -> None:
    picture = Picture.from_image(photo)
    before = picture.rgb.copy()
    improved = post.improve([picture], [AVIF])[0]
    assert improved.rgb.shape == picture.rgb.shape
    assert largest_difference(improved, picture) > 0
    assert np.array_equal(picture.rgb, before)


def test_a_batch_of_all_sizes_and_sources_comes_back_in_order(
    post: PostProcessor, photo: Image.Image
) -> None:
    sizes = [(128, 96), (33, 57), (128, 96), (1, 1), (127, 94)]
    pictures = [Picture.from_image(photo.resize(size)) for size in sizes]
    sources = [AVIF, JPEG, JPEG, AVIF, AVIF]
    together = post.improve(pictures, sources)
    assert [(improved.width, improved.height) for improved in together] == sizes
    for picture, source, improved in zip(pictures, sources, together, strict=True):
        assert largest_difference(improved, post.improve([picture], [source])[0]) <= 1  # float noise, rounded
    assert largest_difference(together[0], together[2]) > 1


@pytest.mark.parametrize("sides", [(5 * UNIT, 3 * UNIT), (5 * UNIT - 7, 3 * UNIT + 1)])
def test_tiles_leave_no_trace(post: PostProcessor, photo: Image.Image, sides: tuple[int, int]) -> None:
    picture = Picture.from_image(photo.resize(sides))
    tiled = tiny_post_processor(tile=1).improve([picture], [AVIF])[0]
    assert largest_difference(tiled, post.improve([picture], [AVIF])[0]) <= 1


def test_encoding_sees_what_decoding_makes(post: PostProcessor, photo: Image.Image) -> None:
    picture = Picture.from_image(photo.crop((0, 0, 131, 74)))
    x_hat = torch.from_numpy(picture.rgb).permute(2, 0, 1)[None].float().div(255).requires_grad_()
    seen = post(x_hat, AVIF)
    assert (torch.autograd.grad(seen.sum(), x_hat)[0] != 0).float().mean() > 0.99  # in bfloat16 some cancel
    made = post.improve([picture], [AVIF])[0].rgb
    # Half a level of rounding to pixels; and bfloat16 rounds once less where there is no gradient.
    assert np.abs(255 * seen.detach().clamp(0, 1)[0].permute(1, 2, 0).numpy() - made).max() < 1


def test_grey_stays_grey_and_alpha_as_it_is(post: PostProcessor, photo: Image.Image) -> None:
    photo = photo.convert("L")
    photo.putalpha(photo.rotate(90, expand=False))
    picture = Picture.from_image(photo)
    improved = post.improve([picture], [JPEG])[0]
    assert improved.greyscale
    assert np.all(improved.rgb == improved.rgb[..., :1])
    assert picture.alpha is not None
    assert improved.alpha is not None
    assert np.array_equal(improved.alpha, picture.alpha)


def test_it_refuses_what_it_was_not_trained_for(photo: Image.Image) -> None:
    model = tiny_post_model()
    card = replace(tiny_post_card(model.model_id), trained=(Trained("avif", 0.3, 0.9),))
    post = PostProcessor(model, card)
    picture = Picture.from_image(photo)
    with pytest.raises(SourceError):
        post.improve([picture, picture], [AVIF, JPEG])
    with pytest.raises(SourceError):
        post.improve([picture], [Source("avif", 0.1)])


@pytest.mark.parametrize("recommended", [True, False])
def test_whether_to_post_process(recommended: bool) -> None:
    post = tiny_post_processor(finest=0.3)
    coarse = Source("avif", 0.5)
    fine = Source("avif", 0.1)

    def decided(wanted: Postprocess, source: Source, post_processor: PostProcessor | None = post) -> bool:
        return decide(wanted, recommended=recommended, source=source, post_processor=post_processor)

    assert not decided("off", coarse)
    assert decided("auto", coarse) == recommended
    assert not decided("auto", fine)
    assert not decided("auto", coarse, None)
    assert decided("on", coarse)
    for source, post_processor in ((fine, post), (coarse, None), (Source("0123abcd", 0.5), post)):
        with pytest.raises(SourceError):
            decided("on", source, post_processor)


def test_card_and_weights_must_agree() -> None:
    with pytest.raises(WeightsError):
        PostProcessor(tiny_post_model(), tiny_post_card("00000000"))
    with pytest.raises(WeightsError):
        PostProcessor.load("no-such")


def psnr(decoded: Picture, original: Picture) -> float:
    return score(decoded.rgb, original.rgb, "psnr", torch.device("cpu"))


@pytest.mark.parametrize(
    ("image_format", "quality", "gain"),
    [("JPEG", 20, 0.5), ("JPEG", 60, 0.4), ("WEBP", 20, 0.1), ("AVIF", 30, 0.05)],
)
def test_what_is_shipped_makes_files_of_others_better(image_format: str, quality: int, gain: float) -> None:
    original = golden_picture()
    file = io.BytesIO()
    original.to_image().save(file, image_format, quality=quality)
    decoded = Picture.from_image(Image.open(file).convert("RGB"))
    improved = PostProcessor.load().improve([decoded], [sources.read(file.getvalue())])[0]
    assert psnr(improved, original) > psnr(decoded, original) + gain


@pytest.mark.parametrize("name", [name for name in post_model.available() if name != FILES])
def test_what_is_shipped_makes_our_own_streams_better(name: str) -> None:
    codec = LearnedCodec.load(name)
    original = golden_picture()
    stream = Codec(codec).compress(original, quality=20).data
    assert Bitstream.parse(stream).postprocess
    bare, improved = (codec.decode([stream], postprocess=how)[0] for how in ("off", "auto"))
    assert codec.score(improved, original, codec.metric) > codec.score(bare, original, codec.metric)


def test_between_tiles_and_blocks_others_may_run() -> None:
    class Pauses(Progress):
        count = 0

        def pause(self) -> None:
            assert not torch.is_autocast_enabled("cpu")
            self.count += 1

    rgb = np.random.default_rng(0).integers(0, 256, (130, 200, 3), np.uint8)
    post = tiny_post_processor(tile=1)
    progress = Pauses()
    post.improve([Picture.from_array(rgb)], [AVIF], progress)
    tiles = 3 * 4
    assert progress.count == tiles - 1 + tiles * post.topology.blocks
