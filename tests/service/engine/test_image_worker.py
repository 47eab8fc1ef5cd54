from __future__ import annotations

import socket
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models import Picture
from service import images
from service.engine import image_worker
from service.engine.image_worker import Job, Limits


def exchanged(value: Any) -> Any:
    """A value that went through a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=image_worker.send, args=(theirs, value))
        sender.start()
        received = image_worker.receive(ours)
        sender.join()
    return received


def test_a_worker_is_small() -> None:
    code = "import service.engine.image_worker, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.stdout == b"False\n"


def test_what_is_sent_arrives() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (500, 700, 3), np.uint8)
    picture = Picture(rgb, rgb[..., 1].copy(), greyscale=False)

    back, text = exchanged((picture, "x" * 300_000))

    assert text == "x" * 300_000
    np.testing.assert_array_equal(back.rgb, rgb)
    np.testing.assert_array_equal(back.alpha, rgb[..., 1])
    assert back.rgb.flags.writeable
    job = exchanged(Job(images.decode, (b"file",), {"max_pixels": 7}, Limits(1.5, 10)))
    assert job == Job(images.decode, (b"file",), {"max_pixels": 7}, Limits(1.5, 10))


def test_a_connection_that_ends_is_told() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(b"\0\0")
        with pytest.raises(EOFError):
            image_worker.receive(ours)


def test_a_file_is_encoded_with_its_digest(photo: Image.Image) -> None:
    picture = Picture.from_image(photo)

    file, digest = image_worker.encode(picture, images.ImageFormat.PNG)

    assert file == images.encode(picture, images.ImageFormat.PNG)
    assert len(digest) == 32
