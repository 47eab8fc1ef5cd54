"""Fit the probe that finds text in pictures: on training pictures, with and without text on them.

python -m models.training.cells --data train/

It prints what `models.overlay.cells` has as constants, for a person to put there.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from models.overlay.cells import HIGH, WIDE, Floats, Probe, look
from models.training.arguments import parser, say
from models.training.crops import members
from models.training.text import decorate

PICTURES = 1000
HIDDEN = 3
WRITTEN = 0.03  # share of a cell's pixels that writing changed, at least
CHANGED = 24  # steps of a sample, more than
# Log-odds of a cell as it was, from which its picture is taken for drawn: it has text of its own.
DRAWN = 3.0
DECAY = 1e-4  # weight of the squared parameters in the loss


def fit(pictures: Sequence[NDArray[np.uint8]], seed: int = 0) -> Probe:
    """Fit the probe, twice: the second time without pictures that have text of their own."""
    rng = np.random.default_rng(seed)
    samples = [_cells(picture, decorate(picture, rng)) for picture in pictures]
    probe = _fitted(samples)
    return _fitted([(plain, text) for plain, text in samples if not (probe.odds(plain) > DRAWN).any()])


def _read(stored: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(stored)) as image:
        return np.asarray(image.convert("RGB"))


def _cells(picture: NDArray[np.uint8], written: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Describe the whole pairs of a picture as it was, and those that were written on, (N, 7)."""
    high = 2 * HIGH
    rows, columns = picture.shape[0] // high, picture.shape[1] // WIDE
    difference = np.abs(written.astype(np.int16) - picture).max(-1)[: rows * high, : columns * WIDE]
    changed = (difference > CHANGED).reshape(rows, high, columns, WIDE).mean((1, 3))
    plain, text = (look(rgb)[0][::2][:rows, :columns] for rgb in (picture, written))
    return plain.reshape(-1, plain.shape[-1]), text[changed > WRITTEN]


def _fitted(samples: Sequence[tuple[Floats, Floats]]) -> Probe:
    """Fit cells with text against those without."""
    plain, text = (np.concatenate(cells) for cells in zip(*samples, strict=True))
    described = torch.from_numpy(np.concatenate([plain, text]))
    x = torch.cat([described, described.sqrt()], -1)
    mean, deviation = x.mean(0), x.std(0)
    x = (x - mean) / deviation
    labels = torch.cat([torch.zeros(len(plain)), torch.ones(len(text))])
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))
    parameters = list(network.parameters())
    optimiser = torch.optim.LBFGS(parameters, max_iter=250)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss: Tensor = F.binary_cross_entropy_with_logits(network(x)[:, 0], labels)
        loss = loss + DECAY * sum(values.square().sum() for values in parameters)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    weight, bias, out, shift = (values.detach() for values in parameters)
    weight = weight / deviation
    bias = bias - weight @ mean
    return Probe(weight.T.numpy(), bias.numpy(), out[0].numpy(), float(shift))


def main() -> None:
    """Fit, and print the constants."""
    arguments = parser("models.training.cells", __doc__).parse_args()
    probe = fit([_read(stored) for stored in islice(members(arguments.data), PICTURES)])
    for name in ("weight", "bias", "out", "shift"):
        say(f"{name} = {np.array2string(np.asarray(getattr(probe, name)), separator=', ', precision=2)}")


if __name__ == "__main__":
    main()
