"""Errors of the store.

StoreError
├── NotStoredError            no stream has this id
├── StoreUnavailableError     the disk or the bucket failed, or did not answer in time
├── StoreFullError            the disk is full, or the quota with streams too young to be evicted
└── StoreDamagedError         the bytes under the id are not those that were stored
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of the store's errors. Its text is fit for users."""


class NotStoredError(StoreError):
    """No stream has this id."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(f"no stream is stored under {stream_id[:64]}")


class StoreUnavailableError(StoreError):
    """The disk or the bucket failed. Its own error, the `__cause__`, is for the log alone."""

    def __init__(self) -> None:
        super().__init__("the stream store does not answer")


class StoreFullError(StoreError):
    """There is no room for another stream. `retry_after` is in seconds."""

    def __init__(
        self,
        retry_after: float = 60,
        text: str = "the stream store has no room for another stream of this size now",
    ) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class StoreDamagedError(StoreError):
    """The bytes under an id do not hash to it any more. Storing the stream again replaces them."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(
            f"what is stored under {stream_id} is damaged; compressing the image again restores it"
        )
