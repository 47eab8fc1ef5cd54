"""models.learned.refinement.refiner, through the codec: on the tiny model where any will do, on the
shipped ones where quality counts.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from models import Picture, Target
from models.bitstream import Bitstream
from models.grid import PASSES
from models.learned.codec import LearnedCodec
from models.learned.model import CodecModel
from models.learned.objective import Objective
from models.learned.refinement.refiner import ITERATIONS, Refiner
from models.learned.symbols import Quantised
from models.network.context import CONTEXT_IN_CHANNELS, pass_mask
from models.postprocess.postprocessor import Postprocess
from models.progress import Progress
from models.weights import registry
from tests.make_golden import golden_picture


@pytest.fixture
def wide(photo: Image.Image) -> Picture:
    """384x64: of several windows that do not see the whole."""
    return Picture.from_array(np.tile(np.asarray(photo)[32:], (1, 3, 1)))


def distortion(
    codec: LearnedCodec, picture: Picture, data: bytes, postprocess: Postprocess = "auto"
) -> float:
    decoded = codec.decode([data], postprocess=postprocess)[0]
    x, x_hat = (
        torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255 for rgb in (picture.rgb, decoded.rgb)
    )
    return float(Objective.of(codec.card).measure(x_hat, x))


def test_effort_makes_a_better_picture_of_the_same_bytes(shipped: LearnedCodec, photo: Image.Image) -> None:
    picture, target = Picture.from_image(photo), Target(bpp=0.5)
    plain, refined = (shipped.encode([picture], [target], effort=effort)[0] for effort in (0, 5))
    assert refined.target_met
    assert len(refined.data) <= target.budget(picture.pixels)  # type: ignore[operator]
    assert distortion(shipped, picture, refined.data) < distortion(shipped, picture, plain.data)


def test_without_a_budget_effort_lowers_what_training_minimised(
    shipped: LearnedCodec, photo: Image.Image
) -> None:
    picture, target = Picture.from_image(photo), Target(quality=70)

    def loss(effort: int) -> float:
        stream = shipped.encode([picture], [target], effort=effort)[0]
        card = shipped.card
        lmbda = float(Objective.of(card).lmbda(torch.tensor(0.7)))
        return lmbda * distortion(shipped, picture, stream.data) + stream.bpp

    assert loss(5) < loss(0)


def test_effort_is_spent_on_the_picture_after_the_post_processor() -> None:
    """By PSNR; by MS-SSIM the difference is within what the random choice of steps makes."""
    picture = golden_picture()
    aware, unaware = (
        LearnedCodec.load("psnr"),
        LearnedCodec(CodecModel.load(registry.weights("psnr")), registry.card("psnr")),
    )

    def after(codec: LearnedCodec, bpp: float) -> float:
        data = codec.encode([picture], [Target(bpp=bpp)], effort=5)[0].data
        assert Bitstream.parse(data).postprocess == (codec is aware)
        return distortion(aware, picture, data, "on")

    assert sum(after(aware, bpp) / after(unaware, bpp) for bpp in (0.2, 0.3)) < 2


@pytest.mark.parametrize("bpp", [0.02, 0.3, 1.0, 4.0])
@pytest.mark.parametrize("effort", [1, 3])
def test_no_budget_is_exceeded_that_can_be_kept(tiny: LearnedCodec, effort: int, bpp: float) -> None:
    picture, target = golden_picture(), Target(bpp=bpp)
    plain, refined = (tiny.encode([picture], [target], effort=e)[0] for e in (0, effort))
    budget = target.budget(picture.pixels)
    assert budget is not None
    assert len(refined.data) <= max(budget, len(plain.data))
    assert refined.target_met >= plain.target_met


@pytest.mark.parametrize("bpp", [0.1, 0.2, 0.3, 0.5])
def test_little_effort_does_not_make_matters_worse(
    shipped: LearnedCodec, photo: Image.Image, bpp: float
) -> None:
    """Not by more than rounding to whole numbers does to what refinement believes."""
    picture, target = Picture.from_image(photo), Target(bpp=bpp)
    plain, *refined = (
        distortion(shipped, picture, shipped.encode([picture], [target], effort=effort)[0].data)
        for effort in (0, 1, 2, 5)
    )
    assert max(refined) < 1.003 * plain


def test_what_ends_far_under_its_budget_starts_again_from_it(
    shipped: LearnedCodec, photo: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(fraction: float, effort: int = 4) -> bytes:
        monkeypatch.setattr("models.learned.refinement.refiner.ANNEALED_TARGET_FRACTION", fraction)
        return shipped.encode([Picture.from_image(photo)], [Target(bpp=0.3)], effort=effort)[0].data

    assert stream(0.3) == stream(1.0) != stream(1.0, effort=0)


class Ended(Progress):
    """Allows nothing more."""

    def advance(self, done: int, of: int) -> bool:
        return False

    def affords(self, iterations: int) -> bool:
        return False


def test_what_was_told_to_end_does_not_start_again(
    tiny: LearnedCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Picture] = []
    refine = Refiner.refine

    def counted(
        refiner: Refiner, picture: Picture, quantised: Quantised, *, iterations: int, progress: Progress
    ) -> Quantised:
        begun.append(picture)
        return refine(refiner, picture, quantised, iterations=iterations, progress=progress)

    monkeypatch.setattr("models.learned.refinement.refiner.ANNEALED_TARGET_FRACTION", 0.3)
    monkeypatch.setattr(Refiner, "refine", counted)
    tiny.encode([golden_picture()], [Target(bpp=0.3)], effort=6, progress=Ended())
    assert len(begun) == 1


def test_the_same_picture_gives_the_same_stream_whatever_its_company(tiny: LearnedCodec) -> None:
    picture, other = golden_picture(), Picture.from_array(np.full((40, 72, 3), 90, np.uint8))
    target = Target(bpp=0.5)
    alone = tiny.encode([picture], [target], effort=2)[0]
    assert tiny.encode([other, picture], [target, target], effort=2)[1].data == alone.data


def test_windows_meet_their_budget_together(
    shipped: LearnedCodec, wide: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.learned.refinement.refiner.WINDOW_SIDE", 2)
    target = Target(bpp=0.3)
    refined = shipped.quantise([wide], [target], effort=3)[0]
    stream = shipped.symbol_codec.write(refined)
    assert refined.budget is not None
    assert 0.99 * refined.budget < refined.predicted_bytes <= refined.budget
    assert abs(refined.predicted_bytes - len(stream.data)) <= 10
    assert stream.target_met


def test_windows_together_lower_what_training_minimised(
    shipped: LearnedCodec, wide: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(effort: int) -> float:
        stream = shipped.encode([wide], [Target(quality=60)], effort=effort)[0]
        lmbda = float(Objective.of(shipped.card).lmbda(torch.tensor(0.6)))
        return lmbda * distortion(shipped, wide, stream.data) + stream.bpp

    plain, whole = loss(0), loss(6)
    monkeypatch.setattr("models.learned.refinement.refiner.WINDOW_SIDE", 2)
    assert plain - loss(6) > 0.6 * (plain - whole) > 0


def test_symbols_of_every_pass_move(shipped: LearnedCodec, photo: Image.Image) -> None:
    picture, target = Picture.from_image(photo), Target(quality=90)
    plain, refined = (
        shipped.quantise([picture], [target], effort=effort)[0].symbols.residuals for effort in (0, 4)
    )
    moved = torch.from_numpy((plain != refined)[:CONTEXT_IN_CHANNELS].any(0))
    assert all(moved[pass_mask(number, moved)].any() for number in range(len(PASSES)))


def test_progress_is_told_and_may_end_the_work_early(tiny: LearnedCodec) -> None:
    seen: list[tuple[int, int]] = []

    class Brief(Progress):
        def advance(self, done: int, of: int) -> bool:
            seen.append((done, of))
            return done < 1

    stream = tiny.encode([golden_picture()], [Target(bpp=0.3)], effort=6, progress=Brief())[0]
    assert stream.target_met
    assert tiny.decode([stream.data])[0].rgb.shape == golden_picture().rgb.shape
    assert {of for _, of in seen} == {ITERATIONS[6]}
    assert len(seen) < ITERATIONS[6]


def test_a_picture_of_which_nothing_is_coded_stays_as_it_is(tiny: LearnedCodec) -> None:
    flat = Picture.from_array(np.full((16, 16, 3), 128, np.uint8))
    stream = tiny.encode([flat], [Target(quality=0)], effort=2)[0]
    assert tiny.decode([stream.data])[0].rgb.shape == flat.rgb.shape


@pytest.mark.parametrize("effort", [-1, 10])
def test_effort_has_a_range(tiny: LearnedCodec, effort: int) -> None:
    with pytest.raises(ValueError, match="0 to 9"):
        tiny.encode([golden_picture()], [Target(bpp=1)], effort=effort)
