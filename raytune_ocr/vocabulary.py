"""What a sample is: ten Khmer digits, three special tokens, and the size of an image.

The ids of special tokens belong to this file; everybody else asks for them by name.
Letters used in shapes throughout the package:

    B  images in a batch      L  positions of a target (9)     C  classes (13)
    H  image height (64)      W  image width (128)             T  columns of a CTC reader
"""

from __future__ import annotations

from collections.abc import Iterable

DIGITS = "០១២៣៤៥៦៧៨៩"

EOS_TOKEN_ID = 10
PAD_TOKEN_ID = 11
BLANK_TOKEN_ID = 12

DEFAULT_CHAR_TO_IDX: dict[str, int] = {
    **{digit: index for index, digit in enumerate(DIGITS)},
    "<EOS>": EOS_TOKEN_ID,
    "<PAD>": PAD_TOKEN_ID,
    "<BLANK>": BLANK_TOKEN_ID,
}
DEFAULT_IDX_TO_CHAR: dict[int, str] = {index: char for char, index in DEFAULT_CHAR_TO_IDX.items()}

VOCAB_SIZE = len(DEFAULT_CHAR_TO_IDX)
NUM_DIGITS = len(DIGITS)
MAX_DIGITS = 8
SEQUENCE_LENGTH = MAX_DIGITS + 1  # the longest string and its EOS

IMAGE_HEIGHT = 64
IMAGE_WIDTH = 128

_DIGIT_IDS = {**{d: i for i, d in enumerate(DIGITS)}, **{str(i): i for i in range(NUM_DIGITS)}}


def encode(text: str, length: int = SEQUENCE_LENGTH) -> list[int]:
    """Ids of the digits of `text`, filled with EOS to `length`.

    ASCII digits stand for their Khmer equals, so that labels typed on any keyboard load.

    Raises:
        ValueError: if `text` is empty, longer than `length - 1`, or holds anything but digits.
    """
    if not text:
        raise ValueError("a label must hold at least one digit, got ''")
    if len(text) >= length:
        raise ValueError(f"a label holds at most {length - 1} digits, got {len(text)}: {text!r}")
    foreign = sorted({char for char in text if char not in _DIGIT_IDS})
    if foreign:
        raise ValueError(
            f"a label holds only the digits {DIGITS} (or 0-9), got {', '.join(map(repr, foreign))}"
            f" in {text!r}"
        )
    ids = [_DIGIT_IDS[char] for char in text]
    return ids + [EOS_TOKEN_ID] * (length - len(ids))


def decode(ids: Iterable[int]) -> str:
    """The digits before the first EOS or PAD; blanks are passed over.

    >>> decode([1, 2, 12, 3, 10, 4])
    '១២៣'
    """
    digits = []
    for index in ids:
        if index in (EOS_TOKEN_ID, PAD_TOKEN_ID):
            break
        if index != BLANK_TOKEN_ID:
            digits.append(DIGITS[index])
    return "".join(digits)
