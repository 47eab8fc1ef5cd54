"""A trained post-processor: weights in half precision, and a card of what they are for and gain."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from models.errors import SourceError
from models.network.postprocess import PostNetwork, PostTopology
from models.postprocess.sources import Source
from models.weights import registry, weights_file
from models.weights.card import Card
from models.weights.registry import Registry

WEIGHTS = registry.WEIGHTS / "postprocess"


@dataclass(frozen=True, slots=True)
class Trained:
    """One kind of source that a network knows, and how coarse it may be; see `Source`.

    Attributes:
        kind: of the source.
        finest, coarsest: coarseness in [0, 1].
    """

    kind: str
    finest: float
    coarsest: float


@dataclass(frozen=True, slots=True)
class Gain:
    """Means over the evaluation images of one codec at one quality of its own.

    Attributes:
        codec: its name.
        quality: on the codec's own scale.
        bpp: bits per pixel.
        psnr: dB, before and after post-processing.
        ms_ssim: [0, 1], before and after post-processing.
    """

    codec: str
    quality: int
    bpp: float
    psnr: tuple[float, float]
    ms_ssim: tuple[float, float]

    @classmethod
    def restored(cls, fields: dict[str, Any]) -> Self:
        """A gain from its JSON."""
        return cls(**fields | {"psnr": tuple(fields["psnr"]), "ms_ssim": tuple(fields["ms_ssim"])})


@dataclass(frozen=True, slots=True)
class PostCard(Card):
    """The card of a post-processor.

    Attributes:
        name: of the file.
        model_id: 8 hex digits, from the weights.
        trained: the sources that it is for.
        steps: of training.
        data_sha256: of the training shards.
        commit: of this repository when it was exported.
        parameters: number of weights.
        history: one line per phase of training.
        evaluated_on: the images behind `gains`.
        gains: at rising quality, codec by codec.
    """

    name: str
    model_id: str
    trained: tuple[Trained, ...]
    steps: int
    data_sha256: str
    commit: str
    parameters: int
    history: tuple[str, ...]
    evaluated_on: str
    gains: tuple[Gain, ...]

    def check(self, source: Source) -> None:
        """Raise `SourceError` for a source that the network was not trained for."""
        trained = next((trained for trained in self.trained if trained.kind == source.kind), None)
        if trained is None:
            kinds = ", ".join(trained.kind for trained in self.trained)
            raise SourceError(f"post-processing is for {kinds}, not {source.kind}")
        if source.coarseness < trained.finest:
            raise SourceError(
                f"the {source.kind} file is of higher quality than what post-processing improves"
            )
        if source.coarseness > trained.coarsest:
            raise SourceError(
                f"the {source.kind} file is of lower quality than what post-processing improves"
            )

    def suits(self, source: Source) -> bool:
        """Tell whether the network was trained for this source."""
        with suppress(SourceError):
            self.check(source)
            return True
        return False

    @classmethod
    def restored(cls, fields: dict[str, Any]) -> Self:
        """A card from its JSON."""
        tuples = {
            "trained": tuple(Trained(**trained) for trained in fields["trained"]),
            "history": tuple(fields["history"]),
            "gains": tuple(Gain.restored(gain) for gain in fields["gains"]),
        }
        return cls(**fields | tuples)


@dataclass(frozen=True, slots=True, eq=False)
class PostModel:
    """A network as every reader of its file has it.

    Attributes:
        network: its weights are those of the file, rounded to half precision.
        model_id: 8 hex digits: the first 4 bytes of the SHA-256 over sizes and weights.
    """

    network: PostNetwork
    model_id: str

    @classmethod
    def of(cls, network: PostNetwork) -> PostModel:
        """The model of a trained network: rounds the weights to half precision, computes the id."""
        return cls._assemble(network.topology, _halved(network))

    @classmethod
    def load(cls, path: Path) -> PostModel:
        """Read a .safetensors file. Raises `WeightsError` for a missing, damaged or other file."""
        return weights_file.load(path, lambda topology, tensors: cls._assemble(_restored(topology), tensors))

    def save(self, path: Path) -> None:
        """Write a .safetensors file."""
        weights_file.save(path, self.network.topology, _halved(self.network))

    @classmethod
    def _assemble(cls, topology: PostTopology, tensors: dict[str, Tensor]) -> PostModel:
        network = PostNetwork(topology)
        network.load_state_dict(tensors)  # which makes them float32
        return cls(network.eval(), weights_file.identify(asdict(topology), tensors, dtypes=False))


_POST_PROCESSORS = Registry(lambda: WEIGHTS, PostCard)

available = _POST_PROCESSORS.available
weights = _POST_PROCESSORS.weights
card = _POST_PROCESSORS.card


def _halved(network: PostNetwork) -> dict[str, Tensor]:
    return {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}


def _restored(topology: dict[str, Any]) -> PostTopology:
    return PostTopology(**topology | {"kinds": tuple(topology["kinds"])})
