"""The process in which image files are read and written, and both ends of its connection.

Decoders are large programs in C that strangers' bytes are fed to. Here each job has a limit of
processor time and of memory that the kernel holds it to, whatever its code does: a job over its
time ends the process, a job over its memory gets `MemoryError`.

Imports neither torch nor the rest of the service: a worker is small and starts in milliseconds.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, NamedTuple

from PIL import AvifImagePlugin

# What jobs need is imported before workers are forked.
from models import Picture
from models.bitstream import alpha  # noqa: F401
from models.bitstream.metadata import unpack
from models.hybrid import av1, libaom  # noqa: F401
from models.mixed import look  # noqa: F401

from .. import images
from . import child

_LENGTH = struct.Struct(">Q")


class Limits(NamedTuple):
    """Limits on the cost of a job.

    Attributes:
        cpu_seconds: of processor time, of all its threads together; None for no limit.
        memory_bytes: beyond what the idle process has; None for no limit.
    """

    cpu_seconds: float | None = None
    memory_bytes: int | None = None


class Job(NamedTuple):
    """A call of a function that the worker can import by its name."""

    function: Callable[..., object]
    args: tuple[object, ...]
    kwargs: dict[str, object]
    limits: Limits


def encode(
    picture: Picture, image_format: images.ImageFormat, metadata: bytes | None = None
) -> tuple[bytes, bytes]:
    """Encode a picture as an image file, with the metadata in a stream's section of it.

    Returns the file and its SHA-256.
    """
    file = images.encode(picture, image_format, None if metadata is None else unpack(metadata))
    return file, sha256(file).digest()


def send(connection: socket.socket, value: object) -> None:
    """Send a value; its arrays are not copied before."""
    buffers: list[pickle.PickleBuffer] = []
    parts = [memoryview(pickle.dumps(value, protocol=5, buffer_callback=buffers.append))]
    parts += [buffer.raw() for buffer in buffers]
    connection.sendall(b"".join(map(_LENGTH.pack, [len(parts), *(part.nbytes for part in parts)])))
    for part in parts:
        connection.sendall(part)


def receive(connection: socket.socket) -> Any:
    """Receive what `send` sent. Raises `EOFError` when the other side has gone."""
    (count,) = _LENGTH.unpack(_read(connection, _LENGTH.size))
    lengths = [_LENGTH.unpack(_read(connection, _LENGTH.size))[0] for _ in range(count)]
    value, *buffers = [_read(connection, length) for length in lengths]
    return pickle.loads(value, buffers=buffers)


def serve(connection: socket.socket) -> None:
    """Do jobs, one after the other, until the parent closes the connection.

    Each is answered by a pair: whether it went well, and its result or its exception.
    """
    child.begin()
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    _be_silent()
    _set_limit(resource.RLIMIT_CORE, 0)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # other workers have the other cores
    idle_bytes = _address_space()
    with suppress(EOFError, OSError):
        while True:
            send(connection, _done(receive(connection), idle_bytes))


def _done(job: Job, idle_bytes: int | None) -> tuple[bool, object]:
    cpu_seconds, memory_bytes = job.limits
    if idle_bytes is not None and memory_bytes is not None:
        _set_limit(resource.RLIMIT_AS, idle_bytes + memory_bytes)
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds or 0)
    try:
        return True, job.function(*job.args, **job.kwargs)
    except Exception as error:
        return False, _plain(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        if idle_bytes is not None:
            _set_limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)


def _plain(error: Exception) -> Exception:
    """Make an error fit to be sent: without what it holds on to, or by its text alone."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _be_silent() -> None:
    """Let libraries in C write to nowhere: what they say of a file is no line of a log."""
    with open(os.devnull, "w") as nowhere:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(nowhere.fileno(), stream.fileno())


def _set_limit(limit: int, value: int) -> None:
    """Set a soft limit, as far as the hard one allows."""
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY and (value == resource.RLIM_INFINITY or value > hard):
        value = hard
    resource.setrlimit(limit, (value, hard))


def _address_space() -> int | None:
    """Get the bytes of address space in use; None on systems that do not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return None


def _read(connection: socket.socket, length: int) -> bytearray:
    received = bytearray(length)
    view = memoryview(received)
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError("the other side has gone")
        view = view[count:]
    return received
