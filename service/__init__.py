"""The HTTP service around the codec of `models`, and its command line."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("ziggurat")
except PackageNotFoundError:  # a checkout that was not installed
    __version__ = "unknown"
