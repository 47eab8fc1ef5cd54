"""models.training: a tiny network on a few crops, but the real loop"""

from __future__ import annotations

import csv
import io
import os
import signal
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from models import Target
from models.entropy.code_lengths import CodeLengths
from models.entropy.context_model import ContextModel
from models.learned.codec import LearnedCodec
from models.learned.model import RAW_LOW, RAW_STEP
from models.learned.objective import OBJECTIVES
from models.network.autoencoder import AutoEncoder, Topology
from models.network.hyperprior import FactorizedPrior
from models.training.crops import CropSampler, content_hash, load
from models.training.grow import grow
from models.training.loop import Recipe, Trainer, averaged_model
from models.training.mean_context import solve_context
from models.training.positions import sample_positions
from models.training.scale_decoder import RoundedScaleDecoder, finish
from models.training.tables import hyper_tables
from tests.make_golden import FIXTURES, TINY, golden_picture, tiny_card

RECIPE = Recipe(steps=6, batch=2, crop=64, warmup=2, learning_rate=1e-3, finale=0.4)


def quiet(line: str) -> None:
    del line


def trainer(folder: Path, recipe: Recipe = RECIPE) -> tuple[Trainer, CropSampler]:
    torch.manual_seed(5)
    new = Trainer(folder, recipe, AutoEncoder(TINY))
    return new, CropSampler([golden_picture().rgb], recipe.crop, new.rng)


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    whole, sampler = trainer(tmp_path / "whole")
    whole.run(sampler, report=quiet)

    first, sampler = trainer(tmp_path / "broken")

    def stop_after_three(_: str) -> None:
        if first.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)  # what a scheduler sends

    first.run(sampler, log_every=1, report=stop_after_three)
    assert first.step == 3
    second, sampler = trainer(tmp_path / "broken")
    second.resume()
    second.run(sampler, report=quiet)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
        assert torch.equal(whole.average[name], second.average[name]), name


@pytest.mark.parametrize("distortion", list(OBJECTIVES))
def test_training_lowers_the_loss_and_logs_it(tmp_path: Path, distortion: str) -> None:
    recipe = Recipe(distortion=distortion, steps=40, batch=2, crop=64, warmup=2, learning_rate=2e-3)  # type: ignore[arg-type]
    new, sampler = trainer(tmp_path, recipe)
    new.run(sampler, log_every=10, report=quiet)
    with (tmp_path / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
    assert averaged_model(tmp_path / "checkpoint.pt").topology == TINY


def test_the_learning_rate_warms_up_holds_and_falls_to_nothing() -> None:
    rates = [Recipe(steps=1000, warmup=100, hold=0.5).learning_rate_at(step) for step in range(1000)]
    assert rates[0] < rates[50] < rates[99] == max(rates) == rates[499]
    assert rates[-1] < 0.01 * rates[499]


def test_lambda_and_positions_cover_the_axis() -> None:
    objective = OBJECTIVES["mse"]
    ends = objective.lmbda(torch.tensor([0.0, 1.0]))
    assert ends.tolist() == pytest.approx([objective.lambda_low, objective.lambda_high])
    positions = sample_positions(2000)
    assert positions.min() >= 0
    assert positions.max() <= 1
    assert ((positions > 0.13) & (positions < 0.78)).float().mean() > 0.8
    assert ((sample_positions(2000, 0.95) > 0.78).float().mean() - (positions > 0.78).float().mean()) > 0.05


def test_crops_come_from_tar_shards(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        for number, size in enumerate([(80, 70), (30, 200)]):
            file = io.BytesIO()
            Image.new("RGB", size, (number, 2, 3)).save(file, "PNG")
            member = tarfile.TarInfo(f"{number}.png")
            member.size = len(file.getvalue())
            archive.addfile(member, io.BytesIO(file.getvalue()))
    pictures = load(tmp_path, 64)
    assert [picture.shape for picture in pictures] == [(70, 80, 3)]  # the other is too narrow
    batch = CropSampler(pictures, 64, np.random.default_rng(0)).batch(3)
    assert batch.shape == (3, 3, 64, 64)
    assert torch.equal(batch[0, :, 0, 0], torch.tensor([0.0, 2 / 255, 3 / 255]))
    assert len(content_hash(tmp_path)) == 64
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing", 64)


def test_the_finale_is_on_larger_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, sampler = trainer(tmp_path)
    drawn: list[tuple[int, int]] = []
    batch = CropSampler.batch

    def noted(self: CropSampler, count: int) -> torch.Tensor:
        drawn.append((count, self.size))
        return batch(self, count)

    monkeypatch.setattr(CropSampler, "batch", noted)
    new.run(sampler, report=quiet)
    assert drawn == [(2, 64)] * 4 + [(1, 128)] * 2
    assert RECIPE.described(6) == "6 steps of 2 crops of 64x64, mse, mostly at 0.13 to 0.78 of the gain axis, the last 2 of 1 of 128x128"
    assert RECIPE.described(4) == "4 steps of 2 crops of 64x64, mse, mostly at 0.13 to 0.78 of the gain axis"
    with pytest.raises(ValueError, match="256x256"):
        sampler.larger().larger()


def test_enlarged_crops_are_as_large_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.crops.ENLARGE", 1.0)
    sampler = CropSampler([golden_picture().rgb], 64, np.random.default_rng(0))
    smooth = sampler.batch(8)
    assert smooth.shape == (8, 3, 64, 64)
    monkeypatch.setattr("models.training.crops.ENLARGE", 0.0)
    assert smooth.diff(dim=3).abs().mean() < sampler.batch(8).diff(dim=3).abs().mean()


def test_training_the_prior_leaves_the_transforms_alone(tmp_path: Path) -> None:
    new, sampler = trainer(tmp_path, replace(RECIPE, trained="prior"))
    before = {name: tensor.clone() for name, tensor in new.model.state_dict().items()}
    new.run(sampler, report=quiet)
    for name, tensor in new.model.state_dict().items():
        kept = name.startswith(("g_a.", "g_s.", "gain", "inverse_gain"))
        assert not kept or torch.equal(tensor, before[name]), name
    changed = [name for name, tensor in new.model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert {name.split(".")[0] for name in changed} == {"h_a", "h_scale", "h_mean", "context", "prior_z"}


def test_a_solved_context_predicts(tmp_path: Path) -> None:
    new, sampler = trainer(tmp_path)
    network, quality = new.model.eval(), torch.full((8,), 2.0)
    with torch.no_grad():
        y = network.g_a(sampler.batch(8))
        before = network.predicted(y, quality, hard=True)[0].square().sum()
        solve_context(network, sampler, crops=64, batch=8)
        assert network.predicted(y, quality, hard=True)[0].square().sum() < 0.97 * before


def test_counted_tables_know_the_neighbours() -> None:
    """Hyper-latents that are alike over the plane."""
    generator = torch.Generator().manual_seed(0)
    z = (torch.randn(60, 3, 1, 1, generator=generator) * 4 + torch.randn(60, 3, 6, 6, generator=generator) * 0.4).round()
    tables = hyper_tables(FactorizedPrior(3), z)
    lengths = CodeLengths(tables, ContextModel.identity(), torch.device("cpu"))
    apart = z.flatten()[torch.randperm(z.numel(), generator=generator)].view(z.shape)
    assert lengths.of_hyper_latents(z).sum() < 0.7 * lengths.of_hyper_latents(apart).sum()


def test_a_grown_network_starts_where_the_small_one_stood() -> None:
    torch.manual_seed(0)
    small = AutoEncoder(Topology(widths=(8, 8, 8), latents=32, hyper=8, anchors=3)).eval()
    large = grow(small.state_dict(), Topology(widths=(8, 8, 8), latents=48, hyper=8, anchors=6), anchors_below=2).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        y_small, y_large = small.g_a(x), large.g_a(x)
        assert torch.allclose(y_large[:, :32], y_small, atol=1e-5)
        padded = torch.cat([y_small, torch.zeros(1, 16, 4, 4)], 1)
        assert torch.allclose(large.g_s(padded), small.g_s(y_small), atol=1e-5)
        assert torch.allclose(large.gain[2:5, :32], small.gain)
        assert torch.allclose(large.gain[0, :32], 2 * large.gain[1, :32] - large.gain[2, :32], atol=1e-5)


def test_a_deeper_network_starts_as_the_shallow_one() -> None:
    torch.manual_seed(0)
    shallow = AutoEncoder(TINY).eval()
    deep = grow(shallow.state_dict(), replace(TINY, depths=(2, 2, 4))).eval()
    x, y = torch.rand(1, 3, 64, 64), torch.randn(1, TINY.latents, 4, 4)
    with torch.no_grad():
        assert torch.equal(deep.g_a(x), shallow.g_a(x))
        assert torch.equal(deep.g_s(y), shallow.g_s(y))
    assert len(deep.state_dict()) == len(shallow.state_dict()) + 2 * 3 * 4  # three blocks of two convolutions in each transform


def test_a_batch_has_positions_from_everywhere() -> None:
    quarters = torch.stack([sample_positions(4) for _ in range(200)])
    assert (quarters[:, 1:] >= quarters[:, :-1]).all()
    assert quarters[:, 0].max() <= quarters[:, 1].min()


def test_the_integer_scale_decoder_computes_what_its_training_saw() -> None:
    torch.manual_seed(0)
    rounded = RoundedScaleDecoder(AutoEncoder(TINY).h_scale)
    z_hat = torch.randn(2, 8, 3, 3).mul(3).round()
    rounded.calibrate(z_hat)
    exact = rounded.exact()
    with torch.no_grad():
        steps = ((rounded(z_hat) - RAW_LOW) / RAW_STEP).round().long()
    different = exact.lookup[steps] != exact(z_hat)
    assert different.float().mean() < 0.01  # the multipliers are rounded to 2**-24: a tie may fall to the other side


def test_a_finished_model_codes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sampler = CropSampler([golden_picture().rgb], 64, np.random.default_rng(0))
    said: list[str] = []
    model = finish(AutoEncoder(TINY), sampler, steps=50, batch=1, context_crops=8, context_steps=2, report=said.append)
    assert "against the float decoder" in said[0]
    codec = LearnedCodec(model, tiny_card(model.model_id))
    stream = codec.encode([golden_picture()], [Target(quality=50)])[0]
    assert codec.decode([stream.data])[0].width == 192
    model.save(tmp_path / "model.safetensors")
    assert load_file(tmp_path / "model.safetensors").keys() == load_file(FIXTURES / "tiny.safetensors").keys()
