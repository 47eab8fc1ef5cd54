"""A trained model as a file: the network's weights in half precision, the exact scale decoder, the tables, and the id that names them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.entropy.context_model import ContextModel
from models.entropy.scale_decoder import MULTIPLIER_BITS
from models.entropy.scale_decoder_torch import ExactScaleDecoder
from models.entropy.tables import Tables
from models.errors import WeightsError
from models.network.autoencoder import AutoEncoder, Topology
from models.network.hyperprior import scale_of

ENCODER_ONLY = (
    "network.g_a.",
    "network.h_a.",
    "network.gain",
    "network.prior_z.",
    "bits_per_significant",
)  # decoding does not depend on these
KEPT_IN_FLOAT32 = ("network.gain", "network.inverse_gain", "network.prior_z.")
RAW_LOW, RAW_STEP = -4.2, 0.0366  # the scale decoder's raw output that 0 stands for, and one step of its 0..1023


@dataclass(frozen=True, slots=True, eq=False)
class CodecModel:
    """What encoder and decoder must share.

    Attributes:
        network: the transforms and the hyperprior; its `h_scale` is the float equivalent of `scale_decoder`, for training on.
        scale_decoder: what the entropy coder uses in its place.
        tables: of z and of the residuals.
        context_model: what decoded symbols say about the tables of the next.
        bits_per_significant: what each significant latent costs at every anchor of the gain axis, float32; rate control's first guess.
        model_id: 8 hex digits: the first 4 bytes of the SHA-256 over everything that decoding depends on.
    """

    network: AutoEncoder
    scale_decoder: ExactScaleDecoder
    tables: Tables
    context_model: ContextModel
    bits_per_significant: Tensor
    model_id: str

    def save(self, path: Path) -> None:
        """Write a .safetensors file."""
        tensors = _tensors(self.network, self.scale_decoder, self.tables, self.context_model, self.bits_per_significant)
        save_file(tensors, path, {"topology": json.dumps(asdict(self.network.topology))})

    @classmethod
    def load(cls, path: Path) -> CodecModel:
        """Read a .safetensors file; WeightsError when it is missing, damaged or of another topology."""
        try:
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
                topology = json.loads(file.metadata()["topology"])
            return assemble(Topology.restored(topology), tensors)
        except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
            raise WeightsError(f"cannot load {path.name}: {error}") from error


def _tensors(
    network: AutoEncoder, scale_decoder: ExactScaleDecoder, tables: Tables, context_model: ContextModel, bits_per_significant: Tensor
) -> dict[str, Tensor]:
    tensors = {"bits_per_significant": bits_per_significant}
    for name, tensor in network.state_dict(prefix="network.").items():
        if not name.startswith("network.h_scale."):
            tensors[name] = (tensor.float() if name.startswith(KEPT_IN_FLOAT32) else tensor.half()).contiguous()
    arrays = {name: torch.from_numpy(array) for name, array in (tables.to_arrays() | context_model.to_arrays()).items()}
    return tensors | scale_decoder.to_arrays() | arrays


def _identify(topology: Topology, tensors: dict[str, Tensor]) -> str:
    told = {name: value for name, value in asdict(topology).items() if name != "depths"}  # which the tensors' names tell
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name in sorted(tensors):
        if not name.startswith(ENCODER_ONLY):
            tensor = tensors[name]
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:8]


def assemble(topology: Topology, tensors: dict[str, Tensor]) -> CodecModel:
    """A model from the tensors of its file."""
    scale_decoder = ExactScaleDecoder.from_arrays(tensors)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if name.startswith(("tables.", "neighbours."))}
    tables, context_model = Tables.from_arrays(arrays), ContextModel.from_arrays(arrays)
    network = AutoEncoder(topology)
    floats = {name.removeprefix("network."): tensor.float() for name, tensor in tensors.items() if name.startswith("network.")}
    network.load_state_dict(floats | _float_equivalent(scale_decoder))
    return CodecModel(network.eval(), scale_decoder, tables, context_model, tensors["bits_per_significant"], _identify(topology, tensors))


def export(
    network: AutoEncoder, scale_decoder: ExactScaleDecoder, tables: Tables, context_model: ContextModel, bits_per_significant: Tensor
) -> CodecModel:
    """The model exactly as a reader of its file will see it: weights rounded to half precision, id computed."""
    return assemble(network.topology, _tensors(network, scale_decoder, tables, context_model, bits_per_significant))


def scale_decoder_convolutions(h_scale: nn.Sequential) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d]:
    """The three convolutions of `hyper_synthesis`."""
    first, second, third = (module for module in h_scale.modules() if isinstance(module, nn.Conv2d))
    return first, second, third


def _float_equivalent(exact: ExactScaleDecoder) -> dict[str, Tensor]:
    """Weights of `h_scale` that compute what the exact decoder does, but for its roundings and upper clamps."""
    state: dict[str, Tensor] = {}
    names = ("h_scale.0.0", "h_scale.2.0", "h_scale.4")
    for name, layer in zip(names, exact.layers, strict=True):
        ratio = layer.multiplier.double() / (1 << MULTIPLIER_BITS) * (RAW_STEP if name == names[-1] else 1.0)
        state[f"{name}.weight"] = (layer.weight.double() * ratio.view(-1, 1, 1, 1)).float()
        state[f"{name}.bias"] = (layer.bias.double() * ratio + (RAW_LOW if name == names[-1] else 0.0)).float()
    return state


def raw_lookup(thresholds: np.ndarray[tuple[int], np.dtype[np.float64]], steps: int) -> Tensor:
    """Table index (steps,) uint8 for every requantised raw output, from the scales at which the index rises."""
    raw = RAW_LOW + RAW_STEP * torch.arange(steps, dtype=torch.float64)
    return torch.from_numpy(np.searchsorted(thresholds, scale_of(raw).numpy())).to(torch.uint8)
