"""Assign images to splits: by a split's name, or by a hash of the path."""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "development", "eval", "evaluation"),
    "test": ("test", "testing", "tst", "holdout", "heldout"),
}
"""Common names of the splits, without capitals, spaces and punctuation."""
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
PLAIN = ("train", "training", "val", "valid", "validation", "test", "testing")
MEANINGLESS = re.compile(r"(set|split|data|dataset|images|imgs|samples)$")
SPLIT_HEADERS = ("split", "splits", "subset", "set", "partition", "phase", "usage")

Item = TypeVar("Item")
_BY_NAME = {name: split for split, names in SPLIT_NAMES.items() for name in names}


def split_of(text: str) -> str | None:
    """Return the split that the name of a folder, section or cell means; None if it means none.

    >>> split_of("Validation"), split_of(" dev "), split_of("Test_Set"), split_of("cats")
    ('val', 'val', 'test', None)
    """
    word = letters_of(text)
    return _BY_NAME.get(word) or _BY_NAME.get(MEANINGLESS.sub("", word))


def splits_by_name(names: Iterable[str]) -> dict[str, str]:
    """Return the split that each name means; other names are separate splits.

    If the plain name is present too, a synonym is a separate split, for `val_split: dev`.

    >>> splits_by_name(["Train", "dev"]), splits_by_name(["val", "dev", "fold"])
    ({'Train': 'train', 'dev': 'val'}, {'val': 'val', 'dev': 'dev', 'fold': 'fold'})
    """
    unique = list(dict.fromkeys(names))
    plain = {split_of(name) for name in unique if letters_of(name) in PLAIN}
    return {
        name: split
        if (split := split_of(name)) and (letters_of(name) in PLAIN or split not in plain)
        else name
        for name in unique
    }


def looks_like_a_split(text: str) -> bool:
    """Whether `text` is almost a split's name, with a number, an addition or a typing error.

    >>> looks_like_a_split("val2"), looks_like_a_split("vaildation"), looks_like_a_split("cats")
    (True, True, False)
    """
    word = letters_of(text)
    words = re.split(r"[^a-z]+", unicodedata.normalize("NFKC", text).casefold().strip())
    return (
        split_of(re.sub(r"\d+$", "", word)) is not None
        or any(len(part) > 2 and part in _BY_NAME for part in words)
        or bool(difflib.get_close_matches(word, _LONG_NAMES, n=1, cutoff=0.85))
    )


_LONG_NAMES = [name for name in _BY_NAME if len(name) > 4]


def is_split_header(text: str) -> bool:
    """Whether a table's column of that name has splits.

    >>> is_split_header(" Split"), is_split_header("dataset_split"), is_split_header("font")
    (True, True, False)
    """
    word = letters_of(text)
    return word in SPLIT_HEADERS or word.startswith("split") or word.endswith("split")


def letters_of(text: str) -> str:
    """Return `text` normalised, without capitals, spaces and punctuation.

    >>> letters_of(" File_Name ")
    'filename'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in folded if char.isalnum())


def by_hash(
    items: Sequence[Item],
    key: Callable[[Item], str],
    classes: Callable[[Item], Iterable[Hashable]],
    shares: Mapping[str, float] = SHARES,
) -> tuple[dict[str, list[Item]], list[str]]:
    """Split `items` by a hash of their keys, so that added items move no other item.

    Two exceptions, both returned: if the first split lacks a class, it gets that class's image with
    the lowest hash; an empty split gets the image with the nearest hash.

    Args:
        key: the relative path of an item; items of one key stay together.
        classes: the classes of an item, each of which the first split must have at least once.
        shares: the share of the items by split.

    Returns:
        The items by split, in their order, and the exceptions in words.
    """
    known: dict[str, set[Hashable]] = {}
    for item in items:
        known.setdefault(key(item), set()).update(classes(item))
    place = {name: _fraction(name) for name in known}
    split = {name: _name_at(place[name], shares) for name in known}
    first, *others = shares
    notes = [*_lend_classes(known, place, split, first)]
    notes += [line for name in others for line in _fill_empty(known, place, split, first, name)]
    found: dict[str, list[Item]] = {name: [] for name in shares}
    for item in items:
        found[split[key(item)]].append(item)
    return found, notes


def _fraction(key: str) -> float:
    """Return a number from 0 to 1 that depends only on the key."""
    digest = hashlib.sha256(unicodedata.normalize("NFC", key).encode("utf-8", "surrogateescape"))
    return int.from_bytes(digest.digest()[:6], "big") / 2**48


def _name_at(place: float, shares: Mapping[str, float]) -> str:
    """Return the split of a number from 0 to 1."""
    *names, last = shares
    end = 0.0
    for name in names:
        end += shares[name]
        if place < end:
            return name
    return last


def _lend_classes(
    known: Mapping[str, set[Hashable]],
    place: Mapping[str, float],
    split: dict[str, str],
    first: str,
) -> Iterable[str]:
    """Put an image of each class that the first split lacks into it; say which."""
    there = _classes_in(known, split, first)
    for one in dict.fromkeys(one for classes in known.values() for one in classes):
        if one not in there:
            members = [name for name, classes in known.items() if one in classes]
            lowest = min(members, key=lambda name: (place[name], name))
            split[lowest] = first
            there.update(known[lowest])
            yield f"{lowest} is in {first}, which had no image of {one}"


def _fill_empty(
    known: Mapping[str, set[Hashable]],
    place: Mapping[str, float],
    split: dict[str, str],
    first: str,
    empty: str,
) -> Iterable[str]:
    """Give a split without images the nearest of the first one that is not its class's only one."""
    if empty in split.values():
        return
    there = [name for name, where in split.items() if where == first]
    count = Counter(one for name in there for one in known[name])
    spare = [name for name in there if all(count[one] > 1 for one in known[name])]
    if spare and len(there) > 1:
        nearest = max(spare, key=lambda name: (place[name], name))
        split[nearest] = empty
        yield f"{nearest} is in {empty}, which was empty"


def _classes_in(
    known: Mapping[str, set[Hashable]], split: Mapping[str, str], name: str
) -> set[Hashable]:
    return {one for key, classes in known.items() if split[key] == name for one in classes}
