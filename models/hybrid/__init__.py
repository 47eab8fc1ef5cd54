"""The hybrid codec: AVIF in the container.

Its name and its id are here, so that who only reads headers need not load torch.
"""

from hashlib import sha256

NAME = "avif"
# Decoding depends on AV1 alone. Post-processing is recommended by a flag and comes after decoding.
MODEL_ID = sha256(b"AV1 still picture, no post-processing").hexdigest()[:8]
