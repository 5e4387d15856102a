"""The vocabulary: ten Khmer digits and three special tokens; and the size of an image.

Other modules use the names of special tokens, never their ids.
Letters used in shapes throughout the package:

    B  images in a batch      L  positions of a target (9)     C  classes (13)
    H  image height (64)      W  image width (128)             T  columns of a CTC reader
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral

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
    """Return the ids of the digits of `text`, filled with EOS to `length`.

    ASCII digits mean their Khmer counterparts, so that labels from any keyboard load.

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


@dataclass(frozen=True)
class Vocabulary:
    """Letters and special tokens with their ids, where these are not the package's own.

    Attributes:
        letters: characters by id.
        blank: None where the vocabulary has none, as CTC alone needs one.
    """

    letters: Mapping[int, str]
    eos: int = EOS_TOKEN_ID
    pad: int = PAD_TOKEN_ID
    blank: int | None = BLANK_TOKEN_ID

    @classmethod
    def of(
        cls,
        idx_to_char: Mapping[int, str],
        pad_token_id: int = PAD_TOKEN_ID,
        eos_token_id: int = EOS_TOKEN_ID,
    ) -> Vocabulary:
        """The vocabulary of a mapping that may name `<EOS>`, `<PAD>` and `<BLANK>`.

        Raises:
            ValueError: when an id is given two meanings, or is no integer >= 0.
        """
        for index in (*idx_to_char, pad_token_id, eos_token_id):
            if not isinstance(index, Integral) or index < 0:
                raise ValueError(
                    "idx_to_char, pad_token_id, eos_token_id: ids must be integers >= 0, got "
                    f"{index!r}"
                )
        named = {char: index for index, char in idx_to_char.items()}
        if len(named) != len(idx_to_char):
            raise ValueError("idx_to_char: must give each character one id")
        ids = {"<EOS>": eos_token_id, "<PAD>": pad_token_id, "<BLANK>": BLANK_TOKEN_ID}
        defaults = {"<EOS>": EOS_TOKEN_ID, "<PAD>": PAD_TOKEN_ID, "<BLANK>": BLANK_TOKEN_ID}
        for token, index in ids.items():
            there = named.get(token, index)
            if there != index and index != defaults[token]:
                raise ValueError(f"{token}: must have one id, got {there} and {index}")
            ids[token] = there
        letters = {index: char for index, char in idx_to_char.items() if char not in ids}
        blank = None if ids["<BLANK>"] in letters else ids["<BLANK>"]
        for token in ("<EOS>", "<PAD>"):
            if ids[token] in letters:
                raise ValueError(
                    f"{token}: must have a different id, got {ids[token]}, which is that of "
                    f"{letters[ids[token]]!r}"
                )
        if blank in (ids["<EOS>"], ids["<PAD>"]):
            blank = None
        return cls(letters, ids["<EOS>"], ids["<PAD>"], blank)

    @property
    def is_of_digits(self) -> bool:
        """Whether all ids are the package's own; the characters may be others."""
        own = (EOS_TOKEN_ID, PAD_TOKEN_ID, BLANK_TOKEN_ID)
        return (self.eos, self.pad, self.blank) == own and [*sorted(self.letters)] == [
            *range(NUM_DIGITS)
        ]

    def decode(self, ids: Iterable[int]) -> str:
        """The letters before the first EOS or PAD; blanks and other ids are passed over."""
        found = []
        for index in ids:
            if index in (self.eos, self.pad):
                break
            found.append(self.letters.get(index, ""))
        return "".join(found)
