"""What the engine has loaded: the codecs, and the post-processors where there are weights of them."""

from __future__ import annotations

import numpy as np
import torch

from models import Picture, Target
from models.errors import UnknownModelError
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.postprocess import postprocessor
from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import Source

from ..metrics import Metrics
from ..settings import Settings
from .errors import NoPostProcessorError, UnknownProfileError
from .work import DeviceModel, DevicePostProcessor


class Models:
    """Empty until `load`.

    Attributes:
        hybrid: the hybrid codec, with the post-processor for AVIF once there is one.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.hybrid = HybridCodec()
        self._settings = settings
        self._metrics = metrics
        self._learned: dict[str, DeviceModel] = {}
        self._post_processor: DevicePostProcessor | None = None

    def load(self) -> None:
        """In the first device thread: PyTorch's thread count belongs to the thread that sets it, and new ones start with it."""
        if self._settings.threads is not None:
            torch.set_num_threads(self._settings.threads)
        warm_up = Picture.from_array(np.full((64, 64, 3), 128, np.uint8))
        for name in self._settings.models:
            codec = LearnedCodec.load(name, device=self._settings.device)
            codec.decode([codec.encode([warm_up], [Target(quality=50)])[0].data])
            self._learned[name] = DeviceModel(codec, self._metrics)
            self._metrics.model_loaded(name, codec.model_id, str(codec.device))
        if (post_processor := PostProcessor.find(postprocessor.FILES, device=self._settings.device)) is not None:
            post_processor.improve([warm_up], [Source(kind.kind, kind.finest) for kind in post_processor.card.trained[:1]])
            self._post_processor = DevicePostProcessor(post_processor, self._metrics)
            self.hybrid = HybridCodec(post_processor)
        for post_processor in self.post_processors:
            self._metrics.model_loaded(f"post-{post_processor.name}", post_processor.model_id, str(post_processor.device))

    @property
    def codecs(self) -> dict[str, LearnedCodec]:
        """The loaded codecs by name."""
        return {name: model.codec for name, model in self._learned.items()}

    @property
    def post_processors(self) -> list[PostProcessor]:
        """The loaded post-processors: what other encoders' files need first, then those of the codecs."""
        ours = (codec.post_processor for codec in self.codecs.values())
        return [one for one in (self.hybrid.post_processor, *ours) if one is not None]

    def model(self, profile: str) -> DeviceModel:
        """The loaded model of this name. Raises `UnknownProfileError`."""
        if profile not in self._learned:
            raise UnknownProfileError(f"profile {profile!r} is not loaded; there is {', '.join(self._learned)}")
        return self._learned[profile]

    def post_processor(self) -> DevicePostProcessor:
        """The loaded post-processor of what other encoders make. Raises `NoPostProcessorError`."""
        if self._post_processor is None:
            raise NoPostProcessorError("this installation has no weights of a post-processor")
        return self._post_processor

    def profile_of(self, model_id: str) -> str:
        """The name of the loaded model, or of the hybrid codec, with this id (8 hex digits). Raises `UnknownModelError`."""
        if model_id == HybridCodec.model_id:
            return HybridCodec.name
        for name, codec in self.codecs.items():
            if codec.model_id == model_id:
                return name
        raise UnknownModelError(model_id)

    def model_id(self, profile: str) -> str:
        """The inverse of `profile_of`."""
        return HybridCodec.model_id if profile == HybridCodec.name else self.model(profile).codec.model_id
