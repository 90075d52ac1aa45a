"""The version of this package, as `trace.json` states it."""

__version__ = "0.1.0"
