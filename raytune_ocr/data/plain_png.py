"""Decode the plainest PNG files in two thirds of the time that `Image.open` takes."""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
from PIL import Image

from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH

_GREY = struct.pack(">IIBBBBB", IMAGE_WIDTH, IMAGE_HEIGHT, 8, 0, 0, 0, 0)
_HEADER = struct.pack(">I", len(_GREY)) + b"IHDR" + _GREY
PLAIN = b"\x89PNG\r\n\x1a\n" + _HEADER + struct.pack(">I", zlib.crc32(_HEADER[4:]))
"""Start of a file of the canvas's size, with 8 bits of grey a pixel, not interlaced."""
MOST_BYTES = 2**20  # such an image takes a hundredth


def decode_plain_png(path: str | os.PathLike[str]) -> np.ndarray | None:
    """Return the canvas, uint8 [H, W], of a PNG file that has nothing but grey pixels.

    None for any other file, such as a damaged one: it is for `open_image`, which knows them all.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - `Path.open` takes twice as long
        if file.read(len(PLAIN)) != PLAIN:
            return None
        content = file.read(MOST_BYTES)
    pixels = _compressed_pixels(content)
    if pixels is None:
        return None
    try:
        return np.asarray(Image.frombytes("L", (IMAGE_WIDTH, IMAGE_HEIGHT), pixels, "zip", "L"))
    except (OSError, ValueError):
        return None


def _compressed_pixels(content: bytes) -> bytes | None:
    """Join the data of the IDAT chunks that `content` begins with; None if other chunks follow."""
    at, parts = 0, []
    while (kind := content[at + 4 : at + 8]) == b"IDAT":
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        if content[end : end + 4] != struct.pack(">I", zlib.crc32(content[at + 4 : end])):
            return None
        parts.append(content[at + 8 : end])
        at = end + 4
    return b"".join(parts) if kind == b"IEND" else None
