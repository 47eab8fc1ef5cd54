"""A trained post-processor as a file and its card: weights in half precision, what they were trained for, what they gain."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.errors import SourceError, WeightsError
from models.network.postprocess import PostNetwork, PostTopology
from models.postprocess.sources import Source
from models.weights import registry

WEIGHTS = registry.WEIGHTS / "postprocess"


@dataclass(frozen=True, slots=True)
class Trained:
    """One kind of source that the network knows, from the finest to the coarsest; see `Source`."""

    kind: str
    finest: float
    coarsest: float


@dataclass(frozen=True, slots=True)
class Gain:
    """Means over the evaluation images of one codec at one quality of its own: PSNR in dB and MS-SSIM, before and after."""

    codec: str
    quality: int
    bpp: float
    psnr: tuple[float, float]
    ms_ssim: tuple[float, float]


@dataclass(frozen=True, slots=True)
class PostCard:
    """Everything about a post-processor that is not its weights.

    Attributes:
        name: of the file.
        model_id: 8 hex digits, from the weights.
        trained: what it is for.
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
        """Raises `SourceError` for what it was not trained for."""
        for one in self.trained:
            if one.kind == source.kind:
                if source.coarseness < one.finest:
                    raise SourceError(f"the {source.kind} file is of higher quality than what post-processing improves")
                if source.coarseness > one.coarsest:
                    raise SourceError(f"the {source.kind} file is of lower quality than what post-processing improves")
                return
        raise SourceError(f"post-processing is for {', '.join(one.kind for one in self.trained)}, not {source.kind}")

    def suits(self, source: Source) -> bool:
        """Whether it was trained for this."""
        return any(one.kind == source.kind and one.finest <= source.coarseness <= one.coarsest for one in self.trained)

    def save(self, path: Path) -> None:
        """Write JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> PostCard:
        """Read JSON; WeightsError when it is missing or not a card."""
        try:
            fields = json.loads(path.read_text())
            trained = tuple(Trained(**one) for one in fields.pop("trained"))
            gains = tuple(Gain(**{**one, "psnr": tuple(one["psnr"]), "ms_ssim": tuple(one["ms_ssim"])}) for one in fields.pop("gains"))
            return cls(trained=trained, gains=gains, **{**fields, "history": tuple(fields["history"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"cannot read the card {path.name}: {error}") from error


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
        """Round the weights to half precision and compute the id."""
        return cls._assemble(network.topology, _halved(network))

    @classmethod
    def load(cls, path: Path) -> PostModel:
        """Read a .safetensors file; WeightsError when it is missing, damaged or of another topology."""
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
                topology = json.loads(file.metadata()["topology"])
            return cls._assemble(PostTopology(**{**topology, "kinds": tuple(topology["kinds"])}), tensors)
        except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
            raise WeightsError(f"cannot load {path.name}: {error}") from error

    def save(self, path: Path) -> None:
        """Write a .safetensors file."""
        save_file(_halved(self.network), path, {"topology": json.dumps(asdict(self.network.topology))})

    @classmethod
    def _assemble(cls, topology: PostTopology, tensors: dict[str, Tensor]) -> PostModel:
        network = PostNetwork(topology)
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        return cls(network.eval(), _identify(topology, tensors))


def weights(name: str) -> Path:
    """The weights file of a post-processor; its card lies beside it, as JSON."""
    return WEIGHTS / f"{name}.safetensors"


def card(name: str) -> PostCard:
    """The card of a post-processor; WeightsError when there is none of this name."""
    return PostCard.load(weights(name).with_suffix(".json"))


def available() -> list[str]:
    """Names of the post-processors at hand, sorted."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def _halved(network: PostNetwork) -> dict[str, Tensor]:
    return {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}


def _identify(topology: PostTopology, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(asdict(topology), sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()[:8]
