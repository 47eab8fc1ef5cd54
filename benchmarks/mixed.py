"""What `codec=auto` makes of photographs, with and without a caption, against making both.

    python -m benchmarks.mixed FOLDER [--every 1] [--profile NAME] [--bpp 0.3] [--output mixed.json]

Each picture is compressed by each codec and by `auto`, as it is and with a line of text and a label
drawn on it. Seconds are processor time; those of `auto` are told as a ratio to the learned codec's,
of the same picture in the same run.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.program import add_folder, parser, write
from models import Codec, Picture
from models.codec import CodecName
from models.evaluation.run import image_paths, read_picture
from models.rate_control import Score
from models.weights import registry

CODECS: tuple[CodecName, ...] = ("learned", "hybrid", "auto")
SCORES: tuple[Score, ...] = ("ssimulacra2", "ms-ssim", "psnr")
LINE = "The old town, seen from the eastern pier at low tide"
LABEL = "12:34:56  ISO 200  f/5.6"


@dataclass(frozen=True, slots=True)
class Trial:
    """One picture by one codec.

    Attributes:
        image: name of the picture.
        captioned: with text on it.
        codec: "learned", "hybrid" or "auto".
        chosen: what that was; of auto.
        ratio: bytes to the budget.
        seconds: processor time of encoding.
        scores: of the decoded picture.
        text_psnr: dB, of the pixels that the text changed; None without.
    """

    image: str
    captioned: bool
    codec: CodecName
    chosen: str | None
    ratio: float
    seconds: float
    scores: dict[Score, float]
    text_psnr: float | None


def captioned(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw a caption and a label on a picture."""
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    size = max(14, min(image.size) // 26)
    font, small = ImageFont.load_default(size), ImageFont.load_default(size * 2 // 3)
    place = (image.width / 2 - draw.textlength(LINE, font) / 2, image.height - 2.6 * size)
    draw.text(place, LINE, "white", font, stroke_width=max(1, size // 14), stroke_fill="black")
    draw.rectangle((12, 12, 20 + draw.textlength(LABEL, small), 18 + size), fill=(20, 20, 20))
    draw.text((16, 14), LABEL, (240, 240, 200), small)
    return np.asarray(image)


def trials(codec: Codec, path: Path, bpp: float) -> list[Trial]:
    """Compress one picture, as it is and captioned."""
    plain = read_picture(path).rgb
    found = []
    for rgb in (plain, captioned(plain)):
        picture = Picture.from_array(rgb)
        text = (rgb != plain).any(-1)
        for name in CODECS:
            begun = time.process_time()
            stream = codec.compress(picture, bpp=bpp, codec=name)
            seconds = time.process_time() - begun
            decoded = Picture.from_image(codec.decompress(stream.data))
            error = np.square(decoded.rgb[text].astype(float) - rgb[text])
            found.append(
                Trial(
                    image=path.stem,
                    captioned=bool(text.any()),
                    codec=name,
                    chosen=stream.chosen,
                    ratio=stream.bpp / bpp,
                    seconds=seconds,
                    scores={score: codec.learned.score(decoded, picture, score) for score in SCORES},
                    text_psnr=float(-10 * np.log10(error.mean() / 255**2)) if text.any() else None,
                )
            )
    return found


def report(found: Sequence[Trial], console: Console) -> None:
    """Print means by codec, and what auto made."""
    table = Table("pictures", "codec", *SCORES, "text, dB", "size / budget", "s / learned's")
    for with_text in (False, True):
        of = {
            name: [trial for trial in found if (trial.codec, trial.captioned) == (name, with_text)]
            for name in CODECS
        }
        for name, some in of.items():
            means = [f"{statistics.mean(trial.scores[score] for trial in some):.4f}" for score in SCORES]
            text = [trial.text_psnr for trial in some if trial.text_psnr is not None]
            table.add_row(
                "captioned" if with_text else "as they are",
                name,
                *means,
                f"{statistics.mean(text):.2f}" if text else "",
                f"{max(trial.ratio for trial in some):.4f} at most",
                f"{sum(t.seconds for t in some) / sum(t.seconds for t in of['learned']):.2f}",
            )
        rows = zip(*of.values(), strict=True)
        lost = [
            max(learned.scores["ms-ssim"], hybrid.scores["ms-ssim"]) - auto.scores["ms-ssim"]
            for learned, hybrid, auto in rows
        ]
        made = Counter(trial.chosen for trial in of["auto"])
        console.print(
            f"{'captioned' if with_text else 'as they are'}: auto made {dict(made)}; at least as good by "
            f"MS-SSIM as the better of both on {sum(loss <= 1e-9 for loss in lost)} of {len(lost)}"
        )
    console.print(table)


def main() -> None:
    """Run, print and write."""
    options = parser(__doc__, "mixed.json")
    add_folder(options, every=True)
    options.add_argument("--profile", default=registry.DEFAULT)
    options.add_argument("--bpp", type=float, default=0.3)
    arguments = options.parse_args()
    codec = Codec.load(arguments.profile)
    paths = image_paths(arguments.folder)[:: arguments.every]
    codec.compress(read_picture(paths[0]), bpp=arguments.bpp)  # warm
    found = [trial for path in track(paths) for trial in trials(codec, path, arguments.bpp)]
    report(found, Console(width=120))
    write(arguments.output, {"trials": [asdict(trial) for trial in found]})


if __name__ == "__main__":
    main()
