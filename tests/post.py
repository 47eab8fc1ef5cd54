"""A small random post-processor that changes every picture: for tests that need any."""

from __future__ import annotations

from dataclasses import replace

import torch

from models import post_model
from models.network.postprocess import PostNetwork, PostTopology
from models.post_model import PostCard, PostModel, Trained
from models.postprocessor import FILES, PostProcessor

KINDS = ("avif", "jpeg", "webp")


def tiny_post_model() -> PostModel:
    """The same in every process."""
    generator = torch.Generator().manual_seed(7)
    network = PostNetwork(PostTopology(KINDS, channels=8, blocks=6, hidden=4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.1, generator=generator)
    return PostModel.of(network)


def tiny_post_card(model_id: str) -> PostCard:
    """For all kinds of all qualities."""
    return PostCard("tiny", model_id, tuple(Trained(kind, 0.0, 1.0) for kind in KINDS), 0, "", "", 0, (), "", ())


def install(finest: float = 0.0) -> None:
    """As the weights that `PostProcessor.load` takes, for sources down to this coarseness; `post_model.WEIGHTS` must be a test's own."""
    model, path = tiny_post_model(), post_model.weights(FILES)
    model.save(path)
    trained = tuple(Trained(kind, finest, 1.0) for kind in KINDS)
    replace(tiny_post_card(model.model_id), name=FILES, trained=trained).save(path.with_suffix(".json"))


def tiny_post_processor(*, tile: int = 32) -> PostProcessor:
    """On the CPU."""
    model = tiny_post_model()
    return PostProcessor(model, tiny_post_card(model.model_id), tile=tile)
