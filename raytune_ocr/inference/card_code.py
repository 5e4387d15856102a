"""The code in a model card: how plain onnxruntime reads an image, without this package."""

from __future__ import annotations

from collections.abc import Sequence

from raytune_ocr.vocabulary import (
    BLANK_TOKEN_ID,
    DIGITS,
    EOS_TOKEN_ID,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    MAX_DIGITS,
    PAD_TOKEN_ID,
    VOCAB_SIZE,
)

UPRIGHT = """import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("model.onnx")


def upright(path, mode):
    image = ImageOps.exif_transpose(Image.open(path))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
"""
CANVAS = f'''

def prepare(path):
    """Grey, scaled to fit, centred, filled with the median of its border: uint8 [1, 1, H, W]."""
    image = upright(path, "L")
    if image.size != ({IMAGE_WIDTH}, {IMAGE_HEIGHT}):
        scale = min({IMAGE_WIDTH} / image.width, {IMAGE_HEIGHT} / image.height)
        width, height = (max(1, round(side * scale)) for side in image.size)
        scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        border = np.concatenate([scaled[0], scaled[-1], scaled[:, 0], scaled[:, -1]])
        image = np.full(({IMAGE_HEIGHT}, {IMAGE_WIDTH}), int(np.median(border)), dtype=np.uint8)
        top, left = ({IMAGE_HEIGHT} - height) // 2, ({IMAGE_WIDTH} - width) // 2
        image[top : top + height, left : left + width] = scaled
    return np.asarray(image)[None, None]
'''
READ = f'''

def read(path):
    """The digits in an image."""
    (logits,) = session.run(["logits"], {{"images": prepare(path)}})
    scores = logits[0].copy()
    %s
    return "".join("{DIGITS}"[i] for i in ids)
'''
OF_KIND = {
    "ctc": f"scores[:, [{EOS_TOKEN_ID}, {PAD_TOKEN_ID}]] = -np.inf  # these do not occur\n"
    "    best = scores.argmax(axis=1)\n"
    f"    before = np.concatenate([[{BLANK_TOKEN_ID}], best[:-1]])\n"
    f"    ids = best[(best != before) & (best != {BLANK_TOKEN_ID})]",
    "attention": f"scores[:, [{PAD_TOKEN_ID}, {BLANK_TOKEN_ID}]] = -np.inf  # these do not occur\n"
    "    best = list(scores.argmax(axis=1))\n"
    f"    ids = best[: best.index({EOS_TOKEN_ID})] if {EOS_TOKEN_ID} in best else best",
}
CLASSIFY = '''

def read(path):
    """The name of the likeliest class of an image, and its probability."""
    image = upright(path, "%(mode)s").resize((%(width)d, %(height)d), Image.Resampling.BILINEAR)
    pixels = np.asarray(image).reshape(1, %(height)d, %(width)d, %(channels)d).transpose(0, 3, 1, 2)
    (logits,) = session.run(["logits"], {"images": np.ascontiguousarray(pixels)})
    powers = np.exp(logits[0] - logits[0].max())
    return CLASSES[powers.argmax()], float(powers.max() / powers.sum())


CLASSES = %(names)r
'''


def reader_code(kind: str) -> str:
    """Python that reads digits with the ONNX file of a reader of that kind."""
    return UPRIGHT + CANVAS + READ % OF_KIND[kind]


def classifier_code(names: Sequence[str], shape: Sequence[int]) -> str:
    """Python that names the class of an image with the ONNX file of a classifier.

    Args:
        shape: channels, height and width of an image.
    """
    channels, height, width = shape
    return UPRIGHT + CLASSIFY % {
        "mode": "L" if channels == 1 else "RGB",
        "channels": channels,
        "height": height,
        "width": width,
        "names": list(names),
    }


def reader_words(kind: str, steps: int) -> str:
    """Describe inputs, outputs and decoding of a reader's ONNX file.

    Args:
        steps: positions or columns of the logits.
    """
    end = (
        f"Of {steps} columns from left to right, equal ones in a row count once, blanks separate "
        f"and are left out; classes {EOS_TOKEN_ID} and {PAD_TOKEN_ID} are masked."
        if kind == "ctc"
        else f"Of {steps} positions, the text ends before the first EOS; classes {PAD_TOKEN_ID} "
        f"and {BLANK_TOKEN_ID} are masked."
    )
    return (
        f"Input `images`: uint8 [B, 1, {IMAGE_HEIGHT}, {IMAGE_WIDTH}], any batch size B: upright, "
        "grey, transparent parts white, scaled to fit without distortion, centred, the rest filled "
        f"with the median of the border. Output `logits`: float [B, {steps}, {VOCAB_SIZE}], kind "
        f"`{kind}`. Classes 0 to 9 are the digits {DIGITS}, {EOS_TOKEN_ID} is EOS (the end), "
        f"{PAD_TOKEN_ID} padding, {BLANK_TOKEN_ID} the CTC blank. {end} Do not trust a prediction "
        f"of more than {MAX_DIGITS} digits."
    )


def classifier_words(names: Sequence[str], shape: Sequence[int]) -> str:
    """Describe inputs and outputs of a classifier's ONNX file."""
    channels, height, width = shape
    return (
        f"Input `images`: uint8 [B, {channels}, {height}, {width}], any batch size B: upright, "
        f"{'grey' if channels == 1 else 'RGB'}, transparent parts white, scaled to that size. "
        f"Output `logits`: float [B, {len(names)}], a class each: {', '.join(names)}."
    )
