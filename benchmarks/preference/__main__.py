"""Make a blind comparison of ours against AVIF that people vote on, or count the votes.

    python -m benchmarks.preference make FOLDER --profile visual --output pairs/
    python -m benchmarks.preference count pairs/key.json votes-*.json

`make` writes pairs/page/, which voters open, and pairs/key.json, which they must not see. Two files
of a pair are of the same size within half a per cent. Crops and sides follow a rule and a seed, so
that the same command makes the same pairs.

`count` gives the share of votes for ours with Wilson's interval of 95 %. The rule for a claim was
fixed before any vote: at least 60 % of the votes, and an interval that lies above one half. The
controls show one codec on both sides.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.preference import page
from benchmarks.preference.pairs import pairs, plan
from benchmarks.preference.votes import tallies
from models.evaluation.anchors import of_families
from models.evaluation.run import image_paths, read_picture
from models.learned.codec import LearnedCodec


def main() -> None:
    """Make or count."""
    arguments = _arguments()
    if arguments.command == "make":
        _make(arguments)
    else:
        _count(arguments)


def _make(arguments: argparse.Namespace) -> None:
    pictures = [(path.stem, read_picture(path)) for path in image_paths(arguments.folder)]
    rates = [float(rate) for rate in arguments.bpp.split(",")]
    (other,) = of_families((arguments.against,))
    chosen = pictures[: arguments.pictures]
    plans = plan(len(chosen), rates, seed=arguments.seed, controls=arguments.controls)
    made = pairs(chosen, plans, LearnedCodec.load(arguments.profile), other)
    key = page.write(track(made, "making pairs", len(plans)), arguments.output)
    print(f"{len(key)} pairs: open {arguments.output / 'page' / 'index.html'}")


def _count(arguments: argparse.Namespace) -> None:
    key = json.loads(arguments.key.read_text())["pairs"]
    ballots = [json.loads(path.read_text()) for path in arguments.votes]
    table = Table("votes on", "votes", "for ours", "95 %", title=f"{len(ballots)} voters")
    counted = tallies(key, ballots, arguments.ours)
    for group, tally in sorted(counted.items()):
        low, high = tally.interval
        table.add_row(group, str(tally.votes), f"{tally.share:.0%}", f"{low:.0%} to {high:.0%}")
    Console().print(table)
    if (everything := counted.get("all")) is not None:
        print("enough for a claim" if everything.is_preferred else "not enough for a claim")


def _arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.preference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = options.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="pairs, a page and its key")
    make.add_argument("folder", type=Path, help="of pictures")
    make.add_argument("--output", type=Path, required=True)
    make.add_argument("--profile", default="visual", help="ours")
    make.add_argument("--against", default="avif-444", help="one codec of `ziggurat evaluate`")
    make.add_argument("--bpp", default="0.15,0.3", help="bits per pixel, separated by commas")
    make.add_argument("--pictures", type=int, default=24, help="at most so many, by name")
    make.add_argument("--controls", type=int, default=4, help="pairs of the other codec with itself")
    make.add_argument("--seed", type=int, default=1)
    count = commands.add_parser("count", help="votes")
    count.add_argument("key", type=Path, help="key.json")
    count.add_argument("votes", type=Path, nargs="+", help="files that voters saved")
    count.add_argument("--ours", default="visual", help="the profile that the pairs were made with")
    return options.parse_args()


if __name__ == "__main__":
    main()
