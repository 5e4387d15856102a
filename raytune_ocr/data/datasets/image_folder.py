"""A folder of images per class."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from raytune_ocr.data.class_folders import ClassImage, class_folders, class_images, split_folders
from raytune_ocr.data.datasets.base import ImageDataset, LabelledImages
from raytune_ocr.data.decoding import decode_all, warn_of_blanks
from raytune_ocr.data.folders import PassedOver, counted
from raytune_ocr.data.images import UNREADABLE, open_image, to_pixels
from raytune_ocr.data.registry import DatasetRegistry, PathLike
from raytune_ocr.data.splits import by_hash
from raytune_ocr.errors import DataLoaderError, DataNotFoundError

logger = logging.getLogger(__name__)

SHARES = {"train": 0.9, "val": 0.1}  # of a folder without val


@DatasetRegistry.register("image_folder")
class ImageFolder(ImageDataset):
    """A folder per class; labels count the classes in the order of their names.

    Args:
        path: contains the class folders, or `train` and `val` (`valid`) folders of them. Without
            `val`, a hash of each image's relative path assigns it 10 % of the images.
        size: of scaled images, in pixels: one side of a square, or (height, width).
        channels: 1 for grey, 3 for colour.
        num_workers: threads that decode images.

    Raises:
        DataLoaderError: there are fewer than two classes, no images, or more than 1 % of them
            cannot be read.
    """

    def __init__(
        self,
        path: PathLike = "data/images",
        size: int | Sequence[int] = 64,
        channels: int = 1,
        seed: int = 0,
        augmentation: bool = False,
        num_workers: int = 4,
    ) -> None:
        super().__init__(seed, augmentation)
        self.path = Path(path)
        self.height, self.width = (size, size) if isinstance(size, int) else tuple(size)
        self.channels = channels
        self.num_workers = num_workers
        if channels not in (1, 3) or min(self.height, self.width) < 8:
            raise DataLoaderError(
                "image_folder: channels must be 1 or 3 and size at least 8 pixels, "
                f"got {channels} and {size}"
            )

    @cached_property
    def classes(self) -> list[str]:
        """Names of the classes, sorted; a label is a place in this list."""
        folders = self._split_folders[0].get("train", [self.path])
        names = sorted({path.name for folder in folders for path in class_folders(folder)})
        if len(names) < 2:
            raise DataLoaderError(
                f"{folders[0]}: must contain a folder of images for each of at least two classes, "
                f"got {names}"
            )
        return names

    def model_facts(self) -> dict[str, Any]:
        shape = [self.channels, self.height, self.width]
        return {"class_names": self.classes, "image_shape": shape}

    def model_arguments(self) -> dict[str, Any]:
        return {"num_classes": len(self.classes), "in_channels": self.channels}

    @cached_property
    def _split_folders(self) -> tuple[dict[str, list[Path]], PassedOver]:
        """Return the folders of each split, and the unused files."""
        if not self.path.is_dir():
            raise DataNotFoundError(f"{self.path}: no such folder of images")
        passed_over = PassedOver()
        return split_folders(self.path, passed_over), passed_over

    def _read(self) -> tuple[LabelledImages, LabelledImages]:
        train, val, notes = self._listed()
        for name, images in (("train", train), ("val", val)):
            if not images:
                raise DataLoaderError(
                    f"{self.path}: {name}: must have at least one image, got none"
                )
            classes = counted(image.name for image in images)
            logger.info("%s: %s %d images (%s)", self.path, name, len(images), classes)
        for line in notes:
            logger.warning("%s: %s", self.path, line)
        return self._decoded(train, "train"), self._decoded(val, "val")

    def _listed(self) -> tuple[list[ClassImage], list[ClassImage], list[str]]:
        """Return the images of training and of validation, and lines for the log."""
        _ = self.classes  # raises for a wrong folder before anything is decoded
        folders, passed_over = self._split_folders
        notes = [
            f"{', '.join(map(str, places))}: the split {name} is not read by image_folder"
            for name, places in folders.items()
            if name not in ("train", "val")
        ]
        train = self._images_in(folders.get("train", [self.path]), passed_over)
        if "train" in folders and "val" in folders:
            val = self._images_in(folders["val"], passed_over)
        else:
            parts, exceptions = by_hash(train, lambda i: i.key, lambda i: [i.name], SHARES)
            train, val = parts["train"], parts["val"]
            notes += exceptions
        return train, val, [*notes, *passed_over.lines()]

    def _images_in(self, folders: Sequence[Path], passed_over: PassedOver) -> list[ClassImage]:
        """The images of a split, those of the first class first."""
        found: list[ClassImage] = []
        for folder in folders:
            there = class_folders(folder)
            foreign = [path.name for path in there if path.name not in self.classes]
            if foreign:
                raise DataLoaderError(
                    f"{folder}: must contain only the classes of training "
                    f"({', '.join(self.classes)}), got {foreign[0]!r}"
                )
            found += class_images(self.path, folder, there, passed_over)
        return sorted(found, key=lambda image: self.classes.index(image.name))

    def _decoded(self, listed: Sequence[ClassImage], split: str) -> LabelledImages:
        what = f"{self.path}: {split}"
        images, good = decode_all(
            [image.path for image in listed], self._decode, what, self.num_workers
        )
        warn_of_blanks(images, [listed[at].key for at in good], what)
        labels = [self.classes.index(listed[at].name) for at in good]
        return LabelledImages(images, np.array(labels, dtype=np.int64))

    def _decode(self, file: Path) -> np.ndarray | str:
        """Return uint8 [C, H, W], or the problem with the file."""
        try:
            with open_image(file) as image:
                return to_pixels(image, (self.channels, self.height, self.width))
        except UNREADABLE as error:
            return f"{file}: not a readable image: {error}"
