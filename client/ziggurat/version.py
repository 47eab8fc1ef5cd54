"""The version of this package, that of the service it belongs to."""

VERSION = "0.3.0"
