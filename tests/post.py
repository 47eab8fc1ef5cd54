"""A small random post-processor that changes every picture a little: for tests that need any."""

from __future__ import annotations

from dataclasses import replace

import torch

from models.network.postprocess import PostNetwork, PostTopology
from models.postprocess import model as post_model
from models.postprocess.model import PostCard, PostModel, Trained
from models.postprocess.postprocessor import FILES, PostProcessor

KINDS = ("avif", "jpeg", "webp")


def tiny_post_model(kinds: tuple[str, ...] = KINDS) -> PostModel:
    """The same in every process."""
    generator = torch.Generator().manual_seed(7)
    network = PostNetwork(PostTopology(kinds, channels=8, blocks=6, hidden=4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.1, generator=generator)
        network.last.weight.mul_(0.3)  # seen by tests, hardly by eyes
    return PostModel.of(network)


def tiny_post_card(model_id: str, kinds: tuple[str, ...] = KINDS, finest: float = 0.0) -> PostCard:
    """For sources down to this coarseness."""
    return PostCard(
        "tiny", model_id, tuple(Trained(kind, finest, 1.0) for kind in kinds), 0, "", "", 0, (), "", ()
    )


def install(name: str = FILES, kinds: tuple[str, ...] = KINDS, finest: float = 0.0) -> None:
    """As the weights that `PostProcessor.load` takes; `post_model.WEIGHTS` must be a test's own."""
    model, path = tiny_post_model(kinds), post_model.WEIGHTS / f"{name}.safetensors"
    model.save(path)
    replace(tiny_post_card(model.model_id, kinds, finest), name=name).save(path.with_suffix(".json"))


def tiny_post_processor(
    kinds: tuple[str, ...] = KINDS, *, finest: float = 0.0, tile: int = 32
) -> PostProcessor:
    """On the CPU."""
    model = tiny_post_model(kinds)
    return PostProcessor(model, tiny_post_card(model.model_id, kinds, finest), tile=tile)
