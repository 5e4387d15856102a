"""The version of this package, which every command prints."""

__version__ = "0.1.0"
