"""Find splits and classes in a tree of folders; the labels are the folders' names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from raytune_ocr.data.folders import (
    IMAGE_SUFFIXES,
    PassedOver,
    holds_images,
    images_below,
    note_others,
    visible,
)
from raytune_ocr.data.splits import looks_like_a_split, split_of, splits_by_name
from raytune_ocr.errors import DataLoaderError


class ClassImage(NamedTuple):
    """An image, the name of its class, and its path below the folder of all data."""

    path: Path
    name: str
    key: str


def split_folders(root: Path, passed_over: PassedOver) -> dict[str, list[Path]]:
    """Return the folders of each split below `root`: folders of class folders.

    Raises:
        DataLoaderError: a folder looks like a split but is not one.
    """
    folders = [path for path in visible(root) if path.is_dir()]
    nested = [path for path in folders if any(map(holds_images, _folders(path)))]
    named = [path for path in nested if split_of(path.name)]
    doubtful = [path for path in nested if path not in named and looks_like_a_split(path.name)]
    if doubtful:
        raise DataLoaderError(
            f"{doubtful[0]}: looks like a split, but is not named train, val or test; rename it, "
            "or move it out of the data folder"
        )
    if not named:
        return {}
    for path in folders:
        if path not in named:
            passed_over.add(f"{path} is no split (train, val, test)", images_below(path))
    note_outside_classes(root, passed_over)
    meaning = splits_by_name(path.name for path in named)
    found: dict[str, list[Path]] = {}
    for path in named:
        found.setdefault(meaning[path.name], []).append(path)
    return found


def class_folders(folder: Path) -> list[Path]:
    """Return the class folders, sorted; a folder without images is not a class."""
    return [path for path in _folders(folder) if holds_images(path)]


def class_images(
    root: Path, folder: Path, classes: Sequence[Path], passed_over: PassedOver
) -> list[ClassImage]:
    """Return the images in class folders and below them."""
    note_outside_classes(folder, passed_over)
    return [
        ClassImage(file, path.name, file.relative_to(root).as_posix())
        for path in classes
        for file in images_below(path, passed_over)
    ]


def note_outside_classes(folder: Path, passed_over: PassedOver) -> None:
    """Note the files beside the class folders of a folder."""
    files = [path for path in visible(folder) if path.is_file()]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    passed_over.add("because they are in no class folder", images)
    note_others([path for path in files if path not in images], passed_over)


def _folders(folder: Path) -> list[Path]:
    return [path for path in visible(folder) if path.is_dir()]
