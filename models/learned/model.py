"""CodecModel: a trained model as a file: half-precision weights, the exact scale decoder, the
tables, and its id.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.entropy.context_model import ContextModel
from models.entropy.requantisation import MULTIPLIER_BITS
from models.entropy.scale_decoder_torch import ExactScaleDecoder
from models.entropy.tables import Tables
from models.network.autoencoder import AutoEncoder, Topology
from models.network.hyperprior import scale_of
from models.weights import weights_file

ENCODER_ONLY = (
    "network.g_a.",
    "network.h_a.",
    "network.gain",
    "network.prior_z.",
    "bits_per_significant",
)  # decoding does not depend on these
KEPT_IN_FLOAT32 = ("network.gain", "network.inverse_gain", "network.prior_z.")
RAW_LOW = -4.2  # raw output of `h_scale` that the scale decoder's 0 stands for
RAW_STEP = 0.0366  # and one step of its 0..1023


@dataclass(frozen=True, slots=True, eq=False)
class CodecModel:
    """Everything that encoder and decoder must share.

    Attributes:
        network: the transforms and the hyperprior; its `h_scale` is the float equivalent of
            `scale_decoder`, to train on from.
        scale_decoder: integers in the place of `h_scale`, for the entropy coder.
        tables: of z and of the residuals.
        context_model: corrects the tables of symbols by those decoded before them.
        bits_per_significant: bits that each significant latent costs at every anchor of the gain
            axis (anchors,), float32; rate control's first guess.
        model_id: 8 hex digits: the first 4 bytes of the SHA-256 over everything that decoding
            depends on.
    """

    network: AutoEncoder
    scale_decoder: ExactScaleDecoder
    tables: Tables
    context_model: ContextModel
    bits_per_significant: Tensor
    model_id: str

    def save(self, path: Path) -> None:
        """Write a .safetensors file."""
        tensors = _tensors(
            self.network, self.scale_decoder, self.tables, self.context_model, self.bits_per_significant
        )
        weights_file.save(path, self.network.topology, tensors)

    @classmethod
    def load(cls, path: Path) -> CodecModel:
        """Read a .safetensors file.

        WeightsError when it is missing, damaged or of another topology.
        """
        return weights_file.load(
            path, lambda topology, tensors: assemble(Topology.restored(topology), tensors)
        )


def _tensors(
    network: AutoEncoder,
    scale_decoder: ExactScaleDecoder,
    tables: Tables,
    context_model: ContextModel,
    bits_per_significant: Tensor,
) -> dict[str, Tensor]:
    tensors = {"bits_per_significant": bits_per_significant}
    for name, tensor in network.state_dict(prefix="network.").items():
        if not name.startswith("network.h_scale."):
            tensors[name] = (
                tensor.float() if name.startswith(KEPT_IN_FLOAT32) else tensor.half()
            ).contiguous()
    arrays = {
        name: torch.from_numpy(array)
        for name, array in (tables.to_arrays() | context_model.to_arrays()).items()
    }
    return tensors | scale_decoder.to_arrays() | arrays


def _identify(topology: Topology, tensors: dict[str, Tensor]) -> str:
    sizes = {
        name: value for name, value in asdict(topology).items() if name != "depths"
    }  # which the tensors' names tell
    return weights_file.identify(
        sizes, {name: tensor for name, tensor in tensors.items() if not name.startswith(ENCODER_ONLY)}
    )


def assemble(topology: Topology, tensors: dict[str, Tensor]) -> CodecModel:
    """Assemble a model from the tensors of its file, and keep none of them.

    They may be views of the file, all of which stays in memory as long as one of them.

    Raises:
        KeyError, WeightsError: they are not a model's.
    """
    copies = {name: tensor.clone() for name, tensor in tensors.items() if not name.startswith("network.")}
    scale_decoder = ExactScaleDecoder.from_arrays(copies)
    arrays = {
        name: tensor.numpy() for name, tensor in copies.items() if name.startswith(("tables.", "neighbours."))
    }
    tables = Tables.from_arrays(arrays)
    context_model = ContextModel.from_arrays(arrays)
    network = AutoEncoder(topology)
    weights = {
        name.removeprefix("network."): tensor
        for name, tensor in tensors.items()
        if name.startswith("network.")
    }
    network.load_state_dict(weights | _float_equivalent(scale_decoder))  # which makes them float32
    return CodecModel(
        network.eval(),
        scale_decoder,
        tables,
        context_model,
        copies["bits_per_significant"],
        _identify(topology, tensors),
    )


def export(
    network: AutoEncoder,
    scale_decoder: ExactScaleDecoder,
    tables: Tables,
    context_model: ContextModel,
    bits_per_significant: Tensor,
) -> CodecModel:
    """Make the model exactly as a reader of its file will see it: weights rounded to half
    precision, id computed.
    """
    return assemble(
        network.topology, _tensors(network, scale_decoder, tables, context_model, bits_per_significant)
    )


def scale_decoder_convolutions(h_scale: nn.Sequential) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d]:
    """Find the three convolutions of `hyper_synthesis`."""
    first, second, third = (module for module in h_scale.modules() if isinstance(module, nn.Conv2d))
    return first, second, third


def _float_equivalent(exact: ExactScaleDecoder) -> dict[str, Tensor]:
    """Weights of `h_scale` that compute what the exact decoder does, but for its roundings and
    upper clamps.
    """
    state: dict[str, Tensor] = {}
    names = ("h_scale.0.0", "h_scale.2.0", "h_scale.4")
    for name, layer in zip(names, exact.layers, strict=True):
        ratio = layer.multiplier.double() / (1 << MULTIPLIER_BITS) * (RAW_STEP if name == names[-1] else 1.0)
        state[f"{name}.weight"] = (layer.weight.double() * ratio.view(-1, 1, 1, 1)).float()
        state[f"{name}.bias"] = (
            layer.bias.double() * ratio + (RAW_LOW if name == names[-1] else 0.0)
        ).float()
    return state


def raw_lookup(thresholds: np.ndarray[tuple[int], np.dtype[np.float64]], steps: int) -> Tensor:
    """Make the look-up from requantised raw outputs to table indices, (steps,) uint8.

    Args:
        thresholds: scales at which the index rises by one (63,).
        steps: number of raw outputs.
    """
    raw = RAW_LOW + RAW_STEP * torch.arange(steps, dtype=torch.float64)
    return torch.from_numpy(np.searchsorted(thresholds, scale_of(raw).numpy())).to(torch.uint8)
