"""A small random post-processor that changes every picture: for tests that need any."""

from __future__ import annotations

import torch

from models.network.postprocess import PostNetwork, PostTopology
from models.post_model import PostCard, PostModel, Trained
from models.postprocessor import PostProcessor

KINDS = ("avif", "jpeg", "webp")


def post_model() -> PostModel:
    """The same in every process."""
    generator = torch.Generator().manual_seed(7)
    network = PostNetwork(PostTopology(KINDS, channels=8, blocks=6, hidden=4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.1, generator=generator)
    return PostModel.of(network)


def post_card(model_id: str) -> PostCard:
    """For all kinds of all qualities."""
    return PostCard("tiny", model_id, tuple(Trained(kind, 0.0, 1.0) for kind in KINDS), 0, "", "", 0, (), "", ())


def post_processor(*, tile: int = 32) -> PostProcessor:
    """On the CPU."""
    model = post_model()
    return PostProcessor(model, post_card(model.model_id), tile=tile)
