"""Read packed splits from metadata YAML, tables or class folders.

Every error names its file, place, rule and value. The log lists what is used, and what is not used
and why.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from raytune_ocr.data.class_folders import class_folders, class_images, split_folders
from raytune_ocr.data.decoding import decode_all, warn_of_blanks
from raytune_ocr.data.folders import PassedOver, counted, images_below
from raytune_ocr.data.images import UNREADABLE, open_image, to_canvas
from raytune_ocr.data.metadata_files import (
    METADATA_NAME,
    METADATA_SUFFIXES,
    metadata_in,
    read_metadata,
    samples_in_metadata,
)
from raytune_ocr.data.packed import PackedSplit
from raytune_ocr.data.plain_png import decode_plain_png
from raytune_ocr.data.samples import Sample, samples_of
from raytune_ocr.data.splits import SPLITS, by_hash, split_of, splits_by_name
from raytune_ocr.data.tables import TABLE_SUFFIXES, find_table, read_table, shortened_lines
from raytune_ocr.errors import (
    DataLoaderError,
    DataNotFoundError,
    SplitNotFoundError,
    unknown_name,
)
from raytune_ocr.vocabulary import DIGITS, encode

logger = logging.getLogger(__name__)

TABLE_NAME = "labels.csv"


@dataclass
class Found:
    """The samples in the files of some data.

    Attributes:
        samples: by split, labels checked, images not opened yet.
        passed_over: unused files.
        notes: further lines for the user.
    """

    samples: dict[str, list[Sample]]
    passed_over: PassedOver = field(default_factory=PassedOver)
    notes: list[str] = field(default_factory=list)


def load_splits(
    path: str | os.PathLike[str],
    splits: Sequence[str] = ("train", "val"),
    *,
    allow_outside: bool = False,
    num_workers: int = 0,
) -> dict[str, PackedSplit]:
    """Several splits by name; see `load_split`."""
    found = survey(Path(path), allow_outside)
    logger.info("%s: %s", path, in_words(found.samples))
    for line in (*found.notes, *found.passed_over.lines()):
        logger.warning("%s: %s", path, line)
    return {name: _pack(path, name, found.samples, num_workers) for name in splits}


def load_split(
    path: str | os.PathLike[str],
    split: str = "train",
    *,
    allow_outside: bool = False,
    num_workers: int = 0,
) -> PackedSplit:
    """One split, decoded and packed.

    Args:
        path: a `metadata.yaml`, a `labels.csv`, a folder that holds either, or a folder per
            class (`0`-`9`, also below `train`, `val` and `test`). Where the data names no
            splits, a hash of each image's relative path gives 80 % to train, 10 % to val and
            10 % to test, so that an image stays in its split when others are added.
        split: its name.
        allow_outside: accept image paths outside the data folder and the working folder.
        num_workers: threads that decode.

    Raises:
        DataNotFoundError: `path` does not exist.
        DataLoaderError: labels, paths or images break a rule, or the split is empty.
    """
    return load_splits(path, [split], allow_outside=allow_outside, num_workers=num_workers)[split]


def split_sizes(path: str | os.PathLike[str], allow_outside: bool = False) -> dict[str, int]:
    """Return the images by split, as `load_split` finds them, without opening them.

    Raises:
        DataLoaderError: as `load_split`.
    """
    found = find_samples(Path(path), allow_outside)
    return {name: len(samples) for name, samples in found.items() if samples}


def dataset_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the facts in a set's `metadata.yaml` (`generator`, `faces`, ...), or {}."""
    file = (metadata_in(Path(path)) if Path(path).is_dir() else Path(path)) or Path(path)
    if file.suffix.lower() not in METADATA_SUFFIXES or not file.is_file():
        return {}
    info = read_metadata(file).get("dataset_info")
    return dict(info) if isinstance(info, Mapping) else {}


def find_samples(path: Path, allow_outside: bool) -> dict[str, list[Sample]]:
    """Return samples by split, labels checked, images not opened."""
    return survey(path, allow_outside).samples


def survey(path: Path, allow_outside: bool = False) -> Found:
    """Return samples by split, and the unused files.

    Raises:
        DataNotFoundError: when `path` does not exist.
        DataLoaderError: for labels, splits or paths that break a rule.
    """
    if not path.exists():
        raise DataNotFoundError(f"{path}: no such data file or folder")
    if not path.is_dir():
        found = _from_file(path, allow_outside)
    elif file := metadata_in(path) or find_table(path):
        found = _from_file(file, allow_outside)
        listed = {sample.path for samples in found.samples.values() for sample in samples}
        unlisted = [image for image in images_below(path) if image.resolve() not in listed]
        found.passed_over.add(f"because {file.name} does not list them", unlisted)
    else:
        found = _from_class_folders(path)
    _check_one_split(found)
    lost = _digits(found.samples, *found.samples) - _digits(found.samples, "train")
    if lost and found.samples.get("train"):
        found.notes.append(f"train has no examples of the digits {' '.join(sorted(lost))}")
    return found


def in_words(found: Mapping[str, Sequence[Sample]]) -> str:
    """Return the number of images by split, and by class if labels are single digits."""
    counts = []
    for name, samples in found.items():
        texts = [sample.text for sample in samples]
        classes = f" ({counted(texts)})" if texts and max(map(len, texts)) == 1 else ""
        counts.append(f"{name} {len(samples)}{classes}")
    return f"images: {', '.join(counts) or 'none'}"


def _from_file(path: Path, allow_outside: bool) -> Found:
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return _from_table(path, allow_outside)
    if suffix in METADATA_SUFFIXES:
        return Found(samples_in_metadata(path, allow_outside))
    raise DataLoaderError(
        f"{path}: must be a metadata .yaml, a labels .csv (.tsv, .txt) or a folder, got "
        f"{path.suffix or 'none'}"
    )


def _digits(found: Mapping[str, Sequence[Sample]], *splits: str) -> set[str]:
    return {digit for name in splits for sample in found.get(name, []) for digit in sample.text}


def _check_one_split(found: Found) -> None:
    """Check that every file has one label and is in one split.

    Raises:
        DataLoaderError: lists both lines of each conflict.
    """
    seen: dict[Path, tuple[Sample, str]] = {}
    problems, again = [], 0
    for split, samples in found.samples.items():
        for sample in samples:
            first, where = seen.setdefault(sample.path, (sample, split))
            if first is sample:
                continue
            again += 1
            if first.text != sample.text:
                rule = f"one label, got {first.text} ({first.place}) and {sample.text}"
            elif split != where and {split, where} <= {*SPLITS}:
                rule = f"one split, got {where} ({first.place}) and {split}"
            else:
                continue
            problems.append(f"{sample.place}: {sample.path.name} must have {rule}")
    if problems:
        raise DataLoaderError(shortened_lines(problems))
    if again:
        found.notes.append(f"{again} rows name a file that an earlier row names, and are used too")


# Tables


def _from_table(path: Path, allow_outside: bool) -> Found:
    table = read_table(path)
    samples = samples_of(table.rows, path, allow_outside)
    notes = [f"columns not used: {', '.join(table.unused)}"] if table.unused else []
    if not table.has_splits:
        found, exceptions = _split_by_hash(samples)
        return Found(found, notes=notes + exceptions)
    unsaid = sum(row.split is None for row in table.rows)
    if unsaid:
        notes.append(f"{unsaid} rows have no split; they are assigned to train")
    names = [row.split or "train" for row in table.rows]
    meaning = splits_by_name(names)
    splits: dict[str, list[Sample]] = {}
    for sample, name in zip(samples, names, strict=True):
        splits.setdefault(meaning[name], []).append(sample)
    if own := sorted({*splits} - {*SPLITS}):
        notes.append(f"splits besides train, val and test: {', '.join(own)}")
    return Found(splits, notes=notes)


# A folder per class


def _from_class_folders(path: Path) -> Found:
    passed_over = PassedOver()
    folders = split_folders(path, passed_over)
    samples = {
        name: [sample for place in places for sample in _class_samples(path, place, passed_over)]
        for name, places in (folders or {"": [path]}).items()
    }
    if not folders:
        splits, exceptions = _split_by_hash(samples[""])
        return Found(splits, passed_over, exceptions)
    if "train" in samples and "val" not in samples:
        parts, exceptions = _split_by_hash(samples["train"])
        samples |= {"train": parts["train"], "val": parts["val"] + parts["test"]}
        held_out = "no val folder; a part of train is held out as val"
        return Found(samples, passed_over, [*exceptions, held_out])
    return Found(samples, passed_over)


def _class_samples(root: Path, folder: Path, passed_over: PassedOver) -> list[Sample]:
    folders = class_folders(folder)
    classes = {path.name: _digit_of(path.name) for path in folders}
    if not any(classes.values()):
        raise DataLoaderError(
            f"{folder}: must contain {METADATA_NAME}, {TABLE_NAME} or folders named 0-9 or "
            f"{DIGITS} with images in them, got {list(classes) or 'none of them'}"
        )
    if foreign := [name for name, digit in classes.items() if not digit]:
        raise DataLoaderError(
            f"{folder}: class folders must be named 0-9 or {DIGITS}, got {foreign[0]!r}"
        )
    return [
        Sample(image.path, classes[image.name], str(image.path.parent), image.key)
        for image in class_images(root, folder, folders, passed_over)
    ]


def _digit_of(name: str) -> str:
    """Return the Khmer digit of a folder's name, or ""."""
    if len(name) == 1 and name in DIGITS:
        return name
    return DIGITS[int(name)] if len(name) == 1 and name in "0123456789" else ""


def _split_by_hash(samples: Sequence[Sample]) -> tuple[dict[str, list[Sample]], list[str]]:
    """80 % train, 10 % val, 10 % test, every digit in train; see `by_hash`."""
    return by_hash(samples, lambda sample: sample.key, lambda sample: sample.text)


# Decoding


def _pack(
    path: str | os.PathLike[str],
    split: str,
    found: Mapping[str, list[Sample]],
    num_workers: int,
) -> PackedSplit:
    name = split if split in found else split_of(split) or split
    if name not in found:
        raise SplitNotFoundError(f"{path}: {unknown_name('split', split, found)}")
    samples = found[name]
    if not samples:
        total = sum(map(len, found.values()))
        raise DataLoaderError(
            f"{path}: {split}: must have at least one image, got 0 of {total} images; add "
            "images, or assign splits with a column `split` or with folders train, val and test"
        )
    what = f"{path}: {split}"
    images, good = decode_all(samples, _decode, what, num_workers)
    warn_of_blanks(images, [samples[at].path.name for at in good], what)
    targets = np.array([encode(samples[at].text) for at in good], dtype=np.int64)
    return PackedSplit(images, targets, what)


def _decode(sample: Sample) -> np.ndarray | str:
    """Return the canvas, or the problem with the file."""
    try:
        canvas = decode_plain_png(sample.path)
        if canvas is not None:
            return canvas
        with open_image(sample.path) as image:
            return to_canvas(image)
    except FileNotFoundError:
        return f"{sample.place}: {sample.path}: no such image"
    except UNREADABLE as error:
        return f"{sample.place}: {sample.path}: not a readable image: {error}"
