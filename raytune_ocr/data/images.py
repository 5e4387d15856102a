"""The one place where an image of any size, mode and orientation becomes a canvas."""

from __future__ import annotations

import struct

import numpy as np
from PIL import ExifTags, Image

from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH

UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow and this module raise for files that are no pictures, or none to learn from."""
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
MOST_PIXELS = 64 * 2**20  # a few kilobytes may claim to be more, and would fill the memory


def check_pixels(image: Image.Image) -> None:
    """Before anything is decoded; raises ValueError for more than 64 Mi pixels."""
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(
            f"must have at most {MOST_PIXELS} pixels, got {image.width} x {image.height}"
        )


def to_canvas(image: Image.Image) -> np.ndarray:
    """Grey uint8 [H, W]: scaled to fit without distortion, centred on the colour of its border.

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


def holds_several(image: Image.Image) -> bool:
    """Whether other pictures follow the first one in its file, which alone is read."""
    try:
        return image.format in PAGED and bool(getattr(image, "is_animated", False))
    except (*UNREADABLE, IndexError, struct.error):  # what follows is damaged
        return False


def plain(image: Image.Image, mode: str = "L") -> Image.Image:
    """Upright, in `mode`, L or RGB: transparent parts white, wider numbers scaled to grey.

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
    elif image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image if image.mode == mode else image.convert(mode)


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF says: a camera that was held on its side writes rows that lie."""
    image.load()  # some formats tell it behind the pixels
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except BAD_EXIF:  # the picture is no worse for it
        return image
    return image if turn is None else image.transpose(turn)
