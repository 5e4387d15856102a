"""A folder of images per class."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from raytune_ocr.data.datasets.base import ImageDataset, LabelledImages
from raytune_ocr.data.images import UNREADABLE, check_pixels, plain
from raytune_ocr.data.registry import DatasetRegistry, PathLike
from raytune_ocr.data.split_files import (
    BAD_SHARE,
    IMAGE_SUFFIXES,
    SPLIT_ALIASES,
    SPLIT_SEED,
    visible,
)
from raytune_ocr.errors import DataLoaderError, DataNotFoundError

logger = logging.getLogger(__name__)


VAL_SHARE = 0.1  # of a folder that has no val of its own


@DatasetRegistry.register("image_folder")
class ImageFolder(ImageDataset):
    """A folder per class; labels count the classes in the order of their names.

    Args:
        path: holds the class folders, or `train` and `val` (`valid`) folders of them. Without a
            `val`, a fixed shuffle gives it 10 % of the images.
        size: what images are scaled to, pixels: one side of a square, or (height, width).
        channels: 1 for grey, 3 for colour.
        num_workers: threads that decode images.

    Raises:
        DataLoaderError: when there are fewer than two classes, no images, or more than 1 % of
            them cannot be read.
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
        if not self.path.is_dir():
            raise DataNotFoundError(f"{self.path}: no such folder of images")
        folders = self._split_folders().get("train", self.path)
        names = [folder.name for folder in visible(folders) if folder.is_dir()]
        if len(names) < 2:
            raise DataLoaderError(
                f"{folders}: must hold a folder of images for each of at least two classes, "
                f"got {names}"
            )
        return names

    def model_arguments(self) -> dict[str, Any]:
        return {"num_classes": len(self.classes), "in_channels": self.channels}

    def _split_folders(self) -> dict[str, Path]:
        named = {SPLIT_ALIASES.get(f.name, f.name): f for f in visible(self.path) if f.is_dir()}
        return {name: named[name] for name in ("train", "val") if name in named}

    def _read(self) -> tuple[LabelledImages, LabelledImages]:
        _ = self.classes  # says what is wrong with the folder before anything is decoded
        folders = self._split_folders()
        train = self._decoded(folders.get("train", self.path))
        if "val" in folders and "train" in folders:
            return train, self._decoded(folders["val"])
        order = np.random.default_rng(SPLIT_SEED).permutation(len(train.labels))
        held_out = max(1, round(VAL_SHARE * len(order)))
        if len(order) <= held_out:
            raise DataLoaderError(f"{self.path}: must hold at least two images, got {len(order)}")
        parts = order[held_out:], order[:held_out]
        kept, val = (LabelledImages(train.images[part], train.labels[part]) for part in parts)
        return kept, val

    def _decoded(self, folder: Path) -> LabelledImages:
        files, labels = [], []
        foreign = [f.name for f in visible(folder) if f.is_dir() and f.name not in self.classes]
        if foreign:
            raise DataLoaderError(
                f"{folder}: must hold the classes of training only ({', '.join(self.classes)}), "
                f"got {foreign[0]!r}"
            )
        for label, name in enumerate(self.classes):
            for file in visible(folder / name) if (folder / name).is_dir() else []:
                if file.suffix.lower() in IMAGE_SUFFIXES:
                    files.append(file)
                    labels.append(label)
        if not files:
            raise DataLoaderError(f"{folder}: must hold at least one image, got none")
        with ThreadPoolExecutor(max_workers=max(1, self.num_workers)) as threads:
            decoded = list(threads.map(self._decode, files))
        bad = [what for what in decoded if isinstance(what, str)]
        if len(bad) > BAD_SHARE * len(files):
            raise DataLoaderError(
                f"{folder}: at most 1 % of the images may be unreadable, got {len(bad)} of "
                f"{len(files)}:\n" + "\n".join(bad[:10])
            )
        for problem in bad:
            logger.warning("skipped %s", problem)
        good = [i for i, image in enumerate(decoded) if not isinstance(image, str)]
        images = np.stack([decoded[i] for i in good])  # type: ignore[misc]
        return LabelledImages(images, np.array([labels[i] for i in good], dtype=np.int64))

    def _decode(self, file: Path) -> np.ndarray | str:
        """uint8 [C, H, W], or what is wrong with the file."""
        try:
            with Image.open(file) as image:
                check_pixels(image)
                picture = plain(image, "L" if self.channels == 1 else "RGB")
                size = (self.width, self.height)
                pixels = np.asarray(picture.resize(size, Image.Resampling.BILINEAR))
        except UNREADABLE as error:
            return f"{file}: not a readable image: {error}"
        return pixels[None] if self.channels == 1 else pixels.transpose(2, 0, 1)
