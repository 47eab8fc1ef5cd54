"""Feed one of the targets with mutated inputs until the time is over.

The findings are kept as files.

    python -m tests.fuzz container --minutes 20     # or endpoints, images
    python -m tests.fuzz container --minutes 0      # only seeds and earlier findings, as in tests

A target is a module of this package with `seeds() -> dict[str, bytes]`, `check(data) -> str`, which
names the outcome or raises what is wrong, and perhaps `mutate`. A finding (an exception, or an
input that took longer than SECONDS of processor time) does not stop the run: one input per kind and
place is written to `<corpus>/<target>-findings/`. What takes the process down (a native crash,
memory, a hang) stops it; libFuzzer writes the input beside them. Inputs that reach new code are
kept in `<corpus>/<target>/`, from which the next run goes on. What was found and repaired goes to
`tests/fixtures/fuzz/<target>/` and stays repaired.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import resource
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

EARLIER = Path(__file__).parents[1] / "fixtures" / "fuzz"
SECONDS = 2.0  # of processor time for one input
MEGABYTES = 300  # that the process may grow beyond its size after the seeds
HANG = 30  # seconds by the clock until libFuzzer stops the run
REPORT = 10  # seconds between two lines about the state of things
LENGTH = 1 << 16  # bytes of the longest input
INSTRUMENTED = ["models", "service", "PIL", "python_multipart", "starlette"]


class Findings:
    """Findings so far, one input for each kind and place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, kind: str, place: str, data: bytes, detail: str) -> None:
        """Count it, and keep the input when it is the first of its kind here."""
        name = f"{kind}-{place}"
        self.seen[name] = self.seen.get(name, 0) + 1
        if self.seen[name] == 1:
            (self.folder / name).write_bytes(data)
            (self.folder / f"{name}.txt").write_text(detail)
            print(f"FINDING {name}\n{detail}", file=sys.stderr, flush=True)


def main() -> None:
    """Run one target."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=["container", "endpoints", "images"])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--corpus", type=Path, default=Path("build/fuzz"))
    parser.add_argument(
        "--seed", type=int, default=0, help="of the mutations; 0 takes another one in each run"
    )
    arguments = parser.parse_args()

    if not arguments.minutes:
        target = importlib.import_module(f"tests.fuzz.{arguments.target}")
        for data in (target.seeds() | earlier(arguments.target)).values():
            print(target.check(data))
        return
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        target = importlib.import_module(f"tests.fuzz.{arguments.target}")
    corpus = arguments.corpus / arguments.target
    corpus.mkdir(parents=True, exist_ok=True)
    findings = Findings(arguments.corpus / f"{arguments.target}-findings")
    for name, data in (target.seeds() | earlier(arguments.target)).items():
        (corpus / f"seed-{name}").write_bytes(data)
        target.check(data)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 + MEGABYTES

    begun = reported = time.monotonic()
    outcomes = Counter[str]()

    def test_one_input(data: bytes) -> None:
        nonlocal reported
        used = time.process_time()
        try:
            outcomes[target.check(data)] += 1
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in Rust is no Exception
            frame = traceback.extract_tb(error.__traceback__)[-1]
            findings.add(
                type(error).__name__,
                f"{Path(frame.filename).stem}-{frame.lineno}",
                data,
                traceback.format_exc(),
            )
        if (used := time.process_time() - used) > SECONDS:
            findings.add("Slow", f"{used:.0f}s", data, f"{used:.2f} s of processor time")
        if time.monotonic() - reported > REPORT:
            reported = time.monotonic()
            facts = {
                "target": arguments.target,
                "minutes": (reported - begun) / 60,
                "processor_minutes": time.process_time() / 60,
            }
            print(
                json.dumps(
                    facts | {"executions": outcomes.total(), "outcomes": outcomes, "findings": findings.seen}
                ),
                flush=True,
            )
            if reported - begun > 60 * arguments.minutes:
                os._exit(
                    bool(findings.seen)
                )  # libFuzzer has no other end that lets Python have the last word

    limits = [
        f"-rss_limit_mb={megabytes}",
        f"-timeout={HANG}",
        f"-report_slow_units={HANG}",
        f"-max_len={LENGTH}",
    ]
    flags = [
        *limits,
        f"-seed={arguments.seed or random.randrange(1, 1 << 31)}",
        f"-artifact_prefix={findings.folder}/",
    ]
    options = {"custom_mutator": target.mutate} if hasattr(target, "mutate") else {}
    atheris.Setup([sys.argv[0], *flags, str(corpus)], test_one_input, **options)
    atheris.Fuzz()


def earlier(target: str) -> dict[str, bytes]:
    """Inputs that once found something."""
    return {path.name: path.read_bytes() for path in sorted((EARLIER / target).glob("*"))}


if __name__ == "__main__":
    main()
