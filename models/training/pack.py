"""Pack a part of the training pictures into one shard of a given size, for a machine that is lent.

python -m models.training.pack --data train/ --output packed/ --megabytes 20

The pictures are copied as they are, evenly from all shards. Decoded they lie on the device, so that
a step of training waits for no file.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from models.files import write_atomically
from models.training.arguments import parser, say
from models.training.crops import members


def main() -> None:
    """Pack."""
    options = parser("models.training.pack", __doc__)
    options.add_argument("--output", type=Path, required=True, help="folder for the shard")
    options.add_argument("--megabytes", type=float, default=20.0, help="that it may have")
    arguments = options.parse_args()
    files = list(members(arguments.data))
    limit = round(1e6 * arguments.megabytes)
    packed = shard(evenly(files, limit))
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_atomically(arguments.output / "shard-000.tar", packed)
    say(f"{len(packed) / 1e6:.1f} MB of {sum(map(len, files)) / 1e6:.1f} MB")


def evenly(files: list[bytes], limit: int) -> list[bytes]:
    """Choose files from the whole list that have at most `limit` bytes as a shard."""
    total = len(shard(files))
    wanted = min(len(files), len(files) * limit // total)
    while wanted:
        chosen = [files[number * len(files) // wanted] for number in range(wanted)]
        if len(shard(chosen)) <= limit:
            return chosen
        wanted -= 1
    raise ValueError(f"no picture fits into {limit} bytes")


def shard(files: list[bytes]) -> bytes:
    """Make a tar archive of files, numbered."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for number, file in enumerate(files):
            member = tarfile.TarInfo(f"{number:06d}")
            member.size = len(file)
            archive.addfile(member, io.BytesIO(file))
    return content.getvalue()


if __name__ == "__main__":
    main()
