"""Convert images of any size, mode and orientation to canvases."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH

UNREADABLE = (
    *(OSError, ValueError, SyntaxError, RuntimeError, EOFError, struct.error, OverflowError),
    *(IndexError, KeyError, TypeError, ZeroDivisionError, AttributeError, AssertionError),
    Image.DecompressionBombError,
)
"""Exceptions of Pillow's plugins and this module for files that are damaged or not images."""
FORMATS = (
    *("PNG", "JPEG", "MPO", "WEBP", "GIF", "TIFF", "BMP", "DIB", "AVIF", "PPM", "PCX", "TGA"),
    *("JPEG2000", "ICO", "DDS", "BLP", "SGI", "PSD"),
)
"""Formats that are opened, whatever a file's name. Left out are those for which Pillow starts
another program (EPS) and those that hold no picture of their own."""
BAD_EXIF = (struct.error, SyntaxError, ValueError, TypeError, KeyError, ZeroDivisionError)
"""What Pillow raises for EXIF that is damaged."""
PAGED = ("GIF", "TIFF", "WEBP")  # the second picture of a photo would be its preview
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation; `ImageOps.exif_transpose` also writes the EXIF anew, and fails on some."""
OPAQUE, LIGHT = 128, 176  # of 255
INK_AT_MOST = 0.75  # of an image; what covers more is the page, not ink
MOST_PIXELS = 64 * 2**20  # a few kilobytes may claim to be more, and would fill the memory


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Open an image file; its pixels are read later.

    Raises:
        OSError: when there is no such file, or it is no picture of `FORMATS`.
    """
    return Image.open(path, formats=_formats())


def image_of(picture: Any) -> Image.Image:
    """Return a PIL image as it is, or an array as one.

    Args:
        picture: an array is uint8 or bool, or float from 0 to 1, [H, W] or [H, W, 1, 3 or 4].

    Raises:
        ValueError: it is neither.
    """
    if isinstance(picture, Image.Image):
        return picture
    if not isinstance(picture, np.ndarray):
        raise ValueError(f"must be an image, got {type(picture).__name__}")
    rule = "an array must be uint8 or bool, or float from 0 to 1, [H, W] or [H, W, 1, 3 or 4]"
    if picture.ndim == 3 and picture.shape[2] == 1:
        picture = picture[:, :, 0]
    fits = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (3, 4))
    if not fits or not picture.size or picture.dtype.kind not in "bfu":
        raise ValueError(f"{rule}, got {picture.dtype} {list(picture.shape)}")
    if picture.dtype.kind in "bf":
        if not (picture.min() >= 0 and picture.max() <= 1):  # NaN is neither
            raise ValueError(f"{rule}, got {picture.min():g} to {picture.max():g}")
        picture = (picture * 255.0).round()
    elif picture.dtype != np.uint8:
        raise ValueError(f"{rule}, got {picture.dtype}")
    return Image.fromarray(picture.astype(np.uint8))


@cache
def _formats() -> tuple[str, ...]:
    """Return the `FORMATS` that the installed Pillow supports."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def check_pixels(image: Image.Image) -> None:
    """Raise ValueError for more than 64 Mi pixels, before decoding."""
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(
            f"must have at most {MOST_PIXELS} pixels, got {image.width} x {image.height}"
        )


def to_canvas(image: Image.Image) -> np.ndarray:
    """Return a grey canvas, uint8 [H, W]: scaled to fit, centred on the colour of its border.

    An image that has the canvas's size already is only made grey; see `plain`.

    Raises:
        OSError: when the image data is damaged.
        ValueError: when there are too many pixels, or values that are no numbers.
    """
    check_pixels(image)
    grey = plain(image)
    if grey.size == (IMAGE_WIDTH, IMAGE_HEIGHT):
        return np.asarray(grey)
    scale = min(IMAGE_WIDTH / grey.width, IMAGE_HEIGHT / grey.height)
    width = max(1, round(grey.width * scale))
    height = max(1, round(grey.height * scale))
    scaled = np.asarray(grey.resize((width, height), Image.Resampling.BILINEAR))
    border = np.concatenate([scaled[0], scaled[-1], scaled[:, 0], scaled[:, -1]])
    canvas = np.full((IMAGE_HEIGHT, IMAGE_WIDTH), int(np.median(border)), dtype=np.uint8)
    top, left = (IMAGE_HEIGHT - height) // 2, (IMAGE_WIDTH - width) // 2
    canvas[top : top + height, left : left + width] = scaled
    return canvas


def to_pixels(image: Image.Image, shape: Sequence[int]) -> np.ndarray:
    """Return uint8 [C, H, W] of that shape, C 1 for grey or 3 for colour: scaled to fill it.

    Raises:
        OSError, ValueError: as `to_canvas`.
    """
    channels, height, width = shape
    check_pixels(image)
    picture = plain(image, "L" if channels == 1 else "RGB")
    pixels = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def holds_several(image: Image.Image) -> bool:
    """Whether the file has more images than the first one, which alone is read."""
    try:
        return image.format in PAGED and bool(getattr(image, "is_animated", False))
    except UNREADABLE:  # what follows is damaged
        return False


def plain(image: Image.Image, mode: str = "L") -> Image.Image:
    """Return an upright image in `mode` (L or RGB); deep greys are scaled, transparency is white.

    Transparency becomes black if the ink is light, so that it is visible.

    Raises:
        OSError: when the image data is damaged.
        ValueError: when its values are no numbers.
    """
    image = _upright(image)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():
            raise ValueError("must hold numbers, got NaN or infinity")
        scaled = (values - low) * (255 / max(high - low, 1e-9))
        image = Image.fromarray(scaled.astype(np.uint8))
    elif _is_transparent(image):
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "black" if _has_light_ink(image) else "white")
        image = Image.alpha_composite(ground, image)
    return image if image.mode == mode else image.convert(mode)


def _is_transparent(image: Image.Image) -> bool:
    """Whether some pixels may be transparent."""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _has_light_ink(image: Image.Image) -> bool:
    """Whether an RGBA image would be invisible on white: its opaque part is light and small."""
    alpha = np.asarray(image.getchannel("A"))
    opaque = alpha >= OPAQUE
    if not opaque.any():
        opaque = alpha == alpha.max()
    light = np.asarray(image.convert("L"))[opaque]
    if opaque.mean() > INK_AT_MOST:
        return False
    return float(np.percentile(light, 10)) >= LIGHT


def _upright(image: Image.Image) -> Image.Image:
    """Rotate an image by its EXIF orientation."""
    image.load()  # some formats store it after the pixels
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except BAD_EXIF:  # the image itself is usable
        return image
    return image if turn is None else image.transpose(turn)
