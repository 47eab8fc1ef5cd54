"""Models that the engine has loaded: the codecs, and the post-processors with weights."""

from __future__ import annotations

import time

import numpy as np
import torch

from models import Picture, Target
from models.errors import UnknownModelError
from models.hybrid.codec import HybridCodec
from models.learned.codec import LearnedCodec
from models.postprocess import postprocessor
from models.postprocess.postprocessor import PostProcessor
from models.postprocess.sources import Source

from .. import machine
from ..metrics import Metrics
from ..settings import Settings
from .device import OVERHEAD_PIXELS
from .errors import NoPostProcessorError, UnknownProfileError
from .work import DeviceModel, DevicePostProcessor

_TIMED_RUNS = 3  # of the warm-up, when kernels have been chosen; the quickest counts


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

    def load(self) -> float:
        """Load everything and run it, each file of weights read once.

        Runs in the first device thread: PyTorch's thread count belongs to the thread that sets it,
        and new ones start with it. Raises `WeightsError`.

        Returns:
            Seconds that quantising a pixel takes, with the slowest model.
        """
        torch.set_num_threads(network_threads(self._settings))
        warm_up = Picture.from_array(np.full((256, 256, 3), 128, np.uint8))
        slowest = 0.0
        for name in self._settings.models:
            codec = LearnedCodec.load(name, device=self._settings.device)
            codec.decode([codec.encode([warm_up], [Target(quality=50)])[0].data])
            slowest = max(slowest, min(_seconds(codec, warm_up) for _ in range(_TIMED_RUNS)))
            self._learned[name] = DeviceModel(codec, self._metrics)
            self._metrics.model_loaded(name, codec.model_id, str(codec.device))
        files = PostProcessor.find(postprocessor.FILES, device=self._settings.device)
        if files is not None:
            finest = [Source(trained.kind, trained.finest) for trained in files.card.trained[:1]]
            files.improve([warm_up], finest)
            self._post_processor = DevicePostProcessor(files, self._metrics)
            self.hybrid = HybridCodec(files)
        for post_processor in self.post_processors:
            self._metrics.model_loaded(
                f"post-{post_processor.name}", post_processor.model_id, str(post_processor.device)
            )
        return slowest / (warm_up.pixels + OVERHEAD_PIXELS)

    @property
    def codecs(self) -> dict[str, LearnedCodec]:
        """The loaded codecs by name."""
        return {name: model.codec for name, model in self._learned.items()}

    @property
    def post_processors(self) -> list[PostProcessor]:
        """The loaded post-processors: that for other encoders' files, then the codecs' own."""
        candidates = [self.hybrid.post_processor, *(codec.post_processor for codec in self.codecs.values())]
        return [post_processor for post_processor in candidates if post_processor is not None]

    def model(self, profile: str) -> DeviceModel:
        """Look up the loaded model of this name. Raises `UnknownProfileError`."""
        if profile not in self._learned:
            raise UnknownProfileError(
                f"profile {profile!r} is not loaded; there is {', '.join(self._learned)}"
            )
        return self._learned[profile]

    def post_processor(self) -> DevicePostProcessor:
        """Get the post-processor for other encoders' files. Raises `NoPostProcessorError`."""
        if self._post_processor is None:
            raise NoPostProcessorError("this installation has no weights of a post-processor")
        return self._post_processor

    def profile_of(self, model_id: str) -> str:
        """Look up the name of a loaded model, or of the hybrid codec, by its id (8 hex digits).

        Raises `UnknownModelError`.
        """
        if model_id == HybridCodec.model_id:
            return HybridCodec.name
        for name, codec in self.codecs.items():
            if codec.model_id == model_id:
                return name
        raise UnknownModelError(model_id)

    def model_id(self, profile: str) -> str:
        """Look up an id by name, the inverse of `profile_of`. Raises `UnknownProfileError`."""
        return HybridCodec.model_id if profile == HybridCodec.name else self.model(profile).codec.model_id


def network_threads(settings: Settings) -> int:
    """Number of threads for the networks: as set, or PyTorch's own choice within this process's
    share of the cores, and a container's quota, which it does not see.
    """
    return settings.threads or min(torch.get_num_threads(), machine.whole_cores())


def _seconds(codec: LearnedCodec, picture: Picture) -> float:
    """Seconds that quantising a picture takes; on a CPU, without waits for other programs."""
    begun, used = time.perf_counter(), time.process_time()
    codec.quantise([picture], [Target(quality=50)])
    seconds = time.perf_counter() - begun
    if codec.device.type == "cpu":
        return min(seconds, (time.process_time() - used) / torch.get_num_threads())
    return seconds
