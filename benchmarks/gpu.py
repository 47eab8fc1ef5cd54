"""GPU: the codec on an accelerator: whether it codes the same, and megapixels a second.

    python -m benchmarks.gpu [--pictures kodak/] [--device cuda] [--profile psnr] [--quick]
        [--modes eager graph compile] [--workers 14] [--minutes 9] [--output gpu]

Everything in one call of under ten minutes, on a machine without a network: it needs torch, NumPy
and what `models` imports. --output is a folder; gpu.json in it, and the table in gpu.md, are
written again after every figure, so that a run that is cut off leaves what it found.
`--device cpu --quick` rehearses all of it.

First, correctness. Pictures are quantised there in batches, and their streams decoded on the CPU
one by one, then the other way round. Symbols must agree bit for bit, and the pictures' PSNR within
0.01 dB.

Then speed, at one quality, for batches of 1, 8 and 32 pictures of 768x512 and 1920x1080 pixels:

    encode                 pixels on the device to symbols and their tables on the device, no
                           entropy coding
    encode staged          the same from and to pinned memory of the host
    encode coded           the same to streams: range coding in worker processes, while the device
                           works on the next batch
    decode, decode post    symbols on the device to pixels on the device, without post-processing
                           and with it; "staged" and "coded" as above

each run as it is (eager), as a CUDA graph, and compiled; what does not work is reported and left
out. The share of the roofline is the operations of the networks over the peak of a large matrix
product in the same arithmetic.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.gpu_device import MODES, DeviceCodec, Function
from benchmarks.gpu_entropy import Coders, Layout, Slot
from benchmarks.program import SUFFIXES, write
from benchmarks.tiled import tiled
from models import Picture, Target
from models.bitstream import Bitstream
from models.evaluation.complexity import context_cost, our_costs
from models.grid import STRIDE, hyper_size, latent_size
from models.learned.codec import LearnedCodec
from models.learned.symbols import Symbols
from models.network.precision import has_fast_bfloat16
from models.rate_control.position import Position

SIZES = ((768, 512), (1920, 1080))  # width and height in pixels
BATCHES = (1, 8, 32)
QUICK_SIZES = ((128, 64),)
QUICK_BATCHES = (1, 2)
QUALITY = 25.0  # of all speeds: about 0.15 bits per pixel
CHECKED = 6  # pictures of the correctness
CLOSE_DB = 0.01
CASE_SECONDS = 1.0
QUICK_SECONDS = 0.2
SLOTS = 3  # batches under way between the device and the workers
PEAK_SIDE = 8192
ENCODED = ("g_a", "h_a", "h_scale", "h_mean", "context 2", "context 3", "tables' context")
DECODED = ("h_mean", "context 2", "context 3", "g_s")


@dataclass(frozen=True, slots=True)
class Case:
    """One figure.

    Attributes:
        what: was done; see above.
        mode: of running it.
        width, height: of the pictures.
        batch: number of them.
        megapixels: a second; None where it does not work.
        share: of the roofline.
        error: why it does not work.
    """

    what: str
    mode: str
    width: int
    height: int
    batch: int
    megapixels: float | None = None
    share: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Agreement:
    """One picture that was encoded on one side and decoded on both.

    Attributes:
        encoded_on: device of the encoder.
        picture: its number.
        exact: symbols and their tables are the same on both, bit for bit.
        device_psnr, cpu_psnr: of the decoded pictures, in dB.
        stream_bytes: size of the stream.
    """

    encoded_on: str
    picture: int
    exact: bool
    device_psnr: float
    cpu_psnr: float
    stream_bytes: int

    @property
    def close(self) -> bool:
        """Tell whether both pictures are as good as the same."""
        return abs(self.device_psnr - self.cpu_psnr) <= CLOSE_DB


@dataclass(slots=True)
class Findings:
    """All that was found so far, and where it is written.

    Attributes:
        output: folder of the JSON.
        facts: about the machine and the run.
        agreement: of the device with the CPU.
        cases: speeds.
    """

    output: Path
    facts: dict[str, object] = field(default_factory=dict)
    agreement: list[Agreement] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)

    def add(self, case: Case) -> None:
        """Print a case, and write everything."""
        self.cases.append(case)
        found = case.error or f"{case.megapixels:9.1f} MP/s  {case.share:6.1%} of the roofline"
        title = f"{case.width}x{case.height} x {case.batch}"
        print(f"{title:18} {case.mode:8} {case.what:20} {found}", flush=True)
        self.save()

    def save(self) -> None:
        """Write the JSON."""
        self.output.mkdir(parents=True, exist_ok=True)
        facts = {
            **self.facts,
            "agreement": [asdict(picture) for picture in self.agreement],
            "cases": [asdict(case) for case in self.cases],
        }
        write(self.output / "gpu.json", facts)
        (self.output / "gpu.md").write_text(markdown(self.cases))


# Correctness


def check(
    device: LearnedCodec, cpu: LearnedCodec, pixels: Sequence[NDArray[np.uint8]], found: Findings
) -> bool:
    """Compare the device's codec with the CPU's, either encoding; the device works in batches.

    The targets are qualities: to keep to a budget, a coder may step some residuals towards zero.
    """
    pictures = [Picture.from_array(rgb) for rgb in pixels]
    targets = [Target(quality=QUALITY)] * len(pictures)
    by_device = device.quantise(pictures, targets)
    by_cpu = [cpu.quantise([picture], [target])[0] for picture, target in zip(pictures, targets, strict=True)]
    for encoder, quantised in ((device, by_device), (cpu, by_cpu)):
        streams = [encoder.symbol_codec.write(picture).data for picture in quantised]
        parsed = [cpu.decided(Bitstream.parse(stream), "auto") for stream in streams]
        symbols = [cpu.symbol_codec.read(stream) for stream in parsed]
        for number, made in enumerate(device.reconstruct(symbols)):
            read = symbols[number]
            sent = quantised[number]
            exact = (
                np.array_equal(read.z, sent.symbols.z)
                and np.array_equal(read.residuals, sent.symbols.residuals)
                and np.array_equal(_tables(device, read), sent.tables)
            )
            scores = [
                cpu.score(decoded, pictures[number], "psnr") for decoded in (made, cpu.reconstruct([read])[0])
            ]
            found.agreement.append(
                Agreement(
                    encoded_on=str(encoder.device),
                    picture=number,
                    exact=exact,
                    device_psnr=scores[0],
                    cpu_psnr=scores[1],
                    stream_bytes=len(streams[number]),
                )
            )
    found.save()
    agreed = all(picture.exact and picture.close for picture in found.agreement)
    print(f"device and CPU {'agree' if agreed else 'DISAGREE'}: {len(found.agreement)} streams", flush=True)
    return agreed


def _tables(codec: LearnedCodec, symbols: Symbols) -> NDArray[np.uint8]:
    """Choose the tables of a picture's residuals on a codec's device: (M, h, w)."""
    z, residuals = (torch.from_numpy(part)[None].to(codec.device) for part in (symbols.z, symbols.residuals))
    indices = codec._transforms.indices(z, residuals)
    made: NDArray[np.uint8] = codec._encoder._code_lengths.corrected(indices, residuals)[0].cpu().numpy()
    return made


# Speed


class Speed:
    """Measures one size of pictures in one size of batches.

    Args:
        codec: on the device.
        coders: processes that code entropy.
        pixels: of the batch (N, H, W, 3), not padded.
        peak: operations a second of the device.
        seconds: to spend on each figure.
        found: where figures go.
    """

    def __init__(
        self,
        codec: LearnedCodec,
        coders: Coders,
        pixels: NDArray[np.uint8],
        position: Position,
        peak: float,
        seconds: float,
        found: Findings,
    ) -> None:
        self._coders = coders
        self._peak = peak
        self._seconds = seconds
        self._found = found
        self._count, self._height, self._width, _ = pixels.shape
        bottom, right = -self._height % STRIDE, -self._width % STRIDE
        padded = np.pad(pixels, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge")
        self._cuda = codec.device.type == "cuda"
        self._host = self._pinned(torch.from_numpy(padded))
        self._pixels = self._host.to(codec.device)
        self._device = DeviceCodec(codec, position, self._count)
        rows, columns = latent_size(self._height, self._width)
        topology = codec._transforms.network.topology
        layout = Layout(
            (self._count, topology.hyper, *hyper_size(rows, columns)),
            (self._count, topology.latents, rows, columns),
        )
        self._slots = [Slot(layout) for _ in range(SLOTS)]
        if self._cuda:
            for slot in self._slots:
                address = slot.residuals.ctypes.data  # the first in the slot
                _driver().cudaHostRegister(address, layout.bytes, 0)
        tables = context_cost(codec.symbol_codec._context_model)
        costs = {cost.part: cost.kmac for cost in (*our_costs(topology), tables)}
        self._operations = {
            "encode": 2e3 * sum(costs[part] for part in ENCODED),
            "decode": 2e3 * sum(costs[part] for part in DECODED),
            "decode post": 2e3 * sum(costs[part] for part in (*DECODED, "post")),
        }

    def close(self) -> None:
        """Give the shared memory back."""
        for slot in self._slots:
            if self._cuda:
                _driver().cudaHostUnregister(slot.residuals.ctypes.data)
            slot.close()

    def measure(self, mode: str, time_left: Callable[[], bool]) -> None:
        """Measure everything in one mode, as long as there is time."""
        with torch.inference_mode():
            coded = tuple(self._device.encode(self._pixels))
            functions: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
                "encode": (self._device.encode, (self._pixels,)),
                "decode": (self._device.decode, coded[:2]),
                "decode post": (self._device.decode_and_improve, coded[:2]),
            }
            for what, (function, inputs) in functions.items():
                if not time_left():
                    return
                try:
                    run = MODES[mode](function, inputs)
                except Exception as error:  # whatever a compiler or a driver raises
                    reason = (str(error) or type(error).__name__).splitlines()[0][:200]
                    self._found.add(self._case(what, mode, error=reason))
                    continue
                self._add(what, mode, partial(run, *inputs))
                staged, coded_too = (
                    (self._encode_staged, self._encode_coded)
                    if what == "encode"
                    else (self._decode_staged, self._decode_coded)
                )
                self._add(f"{what} staged", mode, staged(run))
                self._add(f"{what} coded", mode, coded_too(run), batches=SLOTS)

    def _encode_staged(self, run: Function) -> Callable[[], object]:
        targets = [self._pinned(tensor.cpu()) for tensor in run(self._pixels)]

        def once() -> None:
            self._pixels.copy_(self._host, non_blocking=True)
            for target, made in zip(targets, run(self._pixels), strict=True):
                target.copy_(made, non_blocking=True)

        return once

    def _decode_staged(self, run: Function) -> Callable[[], object]:
        z, residuals, _ = self._device.encode(self._pixels)
        sources = [self._pinned(tensor.cpu()) for tensor in (z, residuals)]
        target = self._pinned(run(z, residuals)[0].cpu())

        def once() -> None:
            z.copy_(sources[0], non_blocking=True)
            residuals.copy_(sources[1], non_blocking=True)
            target.copy_(run(z, residuals)[0], non_blocking=True)

        return once

    def _encode_coded(self, run: Function) -> Callable[[], list[bytes]]:
        """Pixels to streams, SLOTS batches in one call."""

        def once() -> list[bytes]:
            writing = []
            for slot in self._slots:
                self._pixels.copy_(self._host, non_blocking=True)
                for target, made in zip(
                    (slot.z, slot.residuals, slot.tables), run(self._pixels), strict=True
                ):
                    torch.from_numpy(target).copy_(made, non_blocking=True)
                self._synchronise()
                writing += self._coders.write(slot)
            return [future.result() for future in writing]

        return once

    def _decode_coded(self, run: Function) -> Callable[[], object]:
        """Streams to pixels, SLOTS batches in one call."""
        z, residuals, _ = self._device.encode(self._pixels)
        target = self._pinned(run(z, residuals)[0].cpu())
        streams = self._encode_coded(self._device.encode)()[: self._count]

        def once() -> None:
            reading = [self._coders.read(slot, streams) for slot in self._slots]
            for slot, futures in zip(self._slots, reading, strict=True):
                for future in futures:
                    future.result()
                z.copy_(torch.from_numpy(slot.z), non_blocking=True)
                residuals.copy_(torch.from_numpy(slot.residuals), non_blocking=True)
                target.copy_(run(z, residuals)[0], non_blocking=True)

        return once

    def _add(self, what: str, mode: str, function: Callable[[], object], batches: int = 1) -> None:
        """Measure a function that does so many batches in a call."""
        for _ in range(2):
            begun = time.perf_counter()
            function()
            self._synchronise()
            once = time.perf_counter() - begun
        calls = max(1, round(self._seconds / once))
        begun = time.perf_counter()
        for _ in range(calls):
            function()
        self._synchronise()
        seconds = (time.perf_counter() - begun) / calls / batches
        rate = self._count * self._width * self._height / seconds
        operations = self._operations[what.removesuffix(" staged").removesuffix(" coded")]
        self._found.add(self._case(what, mode, megapixels=rate / 1e6, share=rate * operations / self._peak))

    def _case(self, what: str, mode: str, **found: Any) -> Case:
        return Case(what, mode, self._width, self._height, self._count, **found)

    def _pinned(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory() if self._cuda else tensor

    def _synchronise(self) -> None:
        if self._cuda:
            torch.cuda.synchronize()


def markdown(cases: Sequence[Case]) -> str:
    """Lay out the fastest mode of everything as Markdown: megapixels a second, share, mode."""
    columns = list(dict.fromkeys((case.width, case.height, case.batch) for case in cases))
    headings = [f"{width} x {height}, {batch}" for width, height, batch in columns]
    lines = [f"| megapixels a second | {' | '.join(headings)} |", "|---" + "|---:" * len(columns) + "|"]
    for what in dict.fromkeys(case.what for case in cases):
        cells = []
        for column in columns:
            rates = [
                (case.megapixels, f"{case.megapixels:.4g} ({case.share:.0%}, {case.mode})")
                for case in cases
                if case.what == what
                and (case.width, case.height, case.batch) == column
                and case.megapixels is not None
            ]
            cells.append(max(rates)[1] if rates else "")
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _driver() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]


def peak_of(device: torch.device, side: int) -> float:
    """Measure operations a second of a square matrix product, in what the transforms run in."""
    dtype = torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    left = torch.rand(side, side, device=device).to(dtype)
    right = torch.rand(side, side, device=device).to(dtype)
    best = 0.0
    for _ in range(10):
        begun = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * side**3 / (time.perf_counter() - begun))
    return best


def photographs(folder: Path | None, count: int) -> list[NDArray[np.uint8]]:
    """Read pictures (H, W, 3) of a folder; without one, make some."""
    if folder:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        return [np.array(Image.open(path).convert("RGB")) for path in islice(cycle(paths), count)]
    made = []
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:512, 0:768]
    for number in range(count):
        light = 120 + 60 * np.sin(rows / (40 + 9 * number)) + 40 * np.cos(columns / 70 + number)
        edges = np.where((rows // 64 + columns // 96) % 2, 20, -20)
        planes = [light + edges, light - edges, 200 - light]
        noisy = np.stack(planes, 2) + rng.normal(0, 6, (512, 768, 1))
        made.append(noisy.clip(0, 255).astype(np.uint8))
    return made


def main() -> None:
    """Check, measure, print and write."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--pictures", type=Path, help="folder of pictures; without it, some are made")
    options.add_argument("--device", default="cuda")
    options.add_argument("--profile", default="psnr")
    options.add_argument("--modes", nargs="*", choices=tuple(MODES), default=tuple(MODES))
    options.add_argument("--workers", type=int, help="processes that code entropy; all cores but two")
    options.add_argument("--minutes", type=float, default=9.0, help="begin nothing after so many")
    options.add_argument("--quick", action="store_true", help="tiny pictures and batches: a rehearsal")
    options.add_argument("--output", type=Path, default=Path("gpu"), help="folder that the JSON goes to")
    arguments = options.parse_args()
    begun = time.perf_counter()

    def time_left() -> bool:
        return bool(time.perf_counter() - begun < 60 * arguments.minutes)

    found = Findings(arguments.output)
    codec = LearnedCodec.load(arguments.profile, device=arguments.device)
    device = codec.device
    peak = peak_of(device, 512 if arguments.quick else PEAK_SIDE)
    found.facts = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "profile": arguments.profile,
        "quality": QUALITY,
        "peak": peak,
    }
    sizes = QUICK_SIZES if arguments.quick else SIZES
    batches = QUICK_BATCHES if arguments.quick else BATCHES
    pixels = photographs(arguments.pictures, max(CHECKED, *batches))
    cpu = LearnedCodec.load(arguments.profile)
    width, height = sizes[0]
    check(codec, cpu, [tiled(rgb, height, width) for rgb in pixels[:CHECKED]], found)
    del cpu
    position = Position.from_quality(QUALITY)
    workers = arguments.workers or max(1, (torch.get_num_threads() or 2) - 2)
    found.facts["workers"] = workers
    # The modes one after the other: compiling may take all the time that is left.
    for mode, (width, height) in product(arguments.modes, sizes):
        coders = Coders(arguments.profile, workers, width, height, position)
        for batch in batches:
            if time_left():
                taken = np.stack([tiled(rgb, height, width) for rgb in pixels[:batch]])
                seconds = QUICK_SECONDS if arguments.quick else CASE_SECONDS
                speed = Speed(codec, coders, taken, position, peak, seconds, found)
                speed.measure(mode, time_left)
                speed.close()
        coders.close()
    found.facts["minutes"] = (time.perf_counter() - begun) / 60
    found.save()


if __name__ == "__main__":
    main()
