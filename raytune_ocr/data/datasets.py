"""The datasets that are registered from the start: `khmer_digits`, `image_folder`, `mnist`."""

from __future__ import annotations

import gzip
import logging
import os
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from raytune_ocr.config import DEFAULT_METADATA_PATH, TrainingConfig
from raytune_ocr.data.augment import BatchAugment
from raytune_ocr.data.composed import ComposedBatches, encoded
from raytune_ocr.data.dataset import KhmerDigitsDataset, create_data_loaders, memory_loader
from raytune_ocr.data.generator import ensure_default_data, glyph_sheet
from raytune_ocr.data.glyphs import RESERVED_FAMILIES, GlyphSheet, belongs_to, family_of
from raytune_ocr.data.images import UNREADABLE, check_pixels, plain
from raytune_ocr.data.packed import PackedSplit
from raytune_ocr.data.readers import (
    BAD_SHARE,
    IMAGE_SUFFIXES,
    SPLIT_ALIASES,
    SPLIT_SEED,
    load_splits,
    visible,
)
from raytune_ocr.data.registry import Augment, BaseDataset, DatasetRegistry, PathLike
from raytune_ocr.data.synthetic import SyntheticComposer
from raytune_ocr.errors import DataLoaderError, DataNotFoundError, unknown_name
from raytune_ocr.progress import progress

logger = logging.getLogger(__name__)

VALIDATION_SEED = 1_000_003  # no trial's own
VAL_SHARE = 0.1  # of a folder that has no val of its own
TRANSFORM_BATCH = 256


class LabelledImages(NamedTuple):
    """One split: `images` uint8 [N, C, H, W], `labels` int64 [N] or [N, L]."""

    images: np.ndarray
    labels: np.ndarray


class ImageTensors(Dataset):
    """Batches out of arrays in memory; nothing is copied but the batch."""

    def __init__(self, split: LabelledImages) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """`(image uint8 [C, H, W], label)`."""
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """`(images uint8 [B, C, H, W], labels int64 [B, ...])`."""
        images, labels = self.split
        return torch.from_numpy(images[indices]), torch.from_numpy(labels[indices])


class ImageDataset(BaseDataset):
    """Images in memory, read once.

    Args:
        seed: of the training order and the transforms.
        augmentation: whether training images are transformed at all: once when the loaders are
            made, and again whenever `reapply_transforms` is called.
    """

    def __init__(self, seed: int = 0, augmentation: bool = False) -> None:
        self.seed = seed
        self.augmentation = augmentation
        self._train: ImageTensors | None = None

    @abstractmethod
    def _read(self) -> tuple[LabelledImages, LabelledImages]:
        """The training and the validation split."""

    @cached_property
    def arrays(self) -> tuple[LabelledImages, LabelledImages]:
        """The training and the validation split as they were read."""
        return self._read()

    def prepare(self) -> None:
        _ = self.arrays

    def augment(self) -> Augment | None:
        return BatchAugment(negatives=False)

    def get_dataloaders(self, batch_size: int = 32) -> tuple[DataLoader, DataLoader]:
        """Loaders of `(images uint8 [B, C, H, W], labels int64)`."""
        train, val = self.arrays
        self._train = ImageTensors(train)
        self.reapply_transforms(0)
        return (
            memory_loader(self._train, batch_size, self.seed),
            memory_loader(ImageTensors(val), batch_size, shuffle=False),
        )

    def loaders(self, config: TrainingConfig) -> tuple[DataLoader, DataLoader]:
        """Loaders of the images as they are: the loop augments each batch itself."""
        train, val = self.arrays
        return (
            memory_loader(ImageTensors(train), config.batch_size, config.seed),
            memory_loader(ImageTensors(val), config.batch_size, shuffle=False),
        )

    def reapply_transforms(self, epoch: int) -> None:
        augment = self.augment()
        if self._train is None or not self.augmentation or augment is None:
            return
        images, labels = self.arrays[0]
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        changed = np.empty_like(images)
        for start in range(0, len(images), TRANSFORM_BATCH):
            part = slice(start, start + TRANSFORM_BATCH)
            changed[part] = augment(torch.from_numpy(images[part].copy()), generator).numpy()
        self._train.split = LabelledImages(changed, labels)


@DatasetRegistry.register("khmer_digits")
class KhmerDigits(ImageDataset):
    """Strings of Khmer digits, in any layout that `load_split` reads.

    Args:
        path: a `metadata.yaml`, a `labels.csv`, or a folder; the default set is made where it is
            absent.
        num_workers: threads that decode images.
        allow_outside: accept image paths that leave the data's folder and the working one.
        composed: training images an epoch that are composed as they are needed, new ones in
            every epoch, instead of the training split; 0 trains on that split.
        composed_val: images like the default set's, composed once and the same for everyone, that
            are validated on instead of its few; data of one's own is validated on as it is.
        variety: share of composed styles that no face has (bent, or written by a pen), 0 to 1.
        leave_out: families of faces that composed images do without. A name stands for every
            family that it is a part of, however it is spelled: `Busra` for Khmer Busra and Khmer
            Busra Bunong.
        fonts_dirs: folders of fonts whose faces are composed as well.

    Raises:
        DataLoaderError: when an option breaks a rule; from `splits` and the loaders, when files
            or labels do; from `sheet`, when `leave_out` names no family that there is, or all.
    """

    def __init__(
        self,
        path: PathLike = DEFAULT_METADATA_PATH,
        train_split: str = "train",
        val_split: str = "val",
        seed: int = 0,
        augmentation: bool = False,
        num_workers: int = 0,
        allow_outside: bool = False,
        composed: int = 0,
        composed_val: int = 0,
        variety: float = 0.6,
        leave_out: Sequence[str] = (),
        fonts_dirs: Sequence[str] = (),
    ) -> None:
        super().__init__(seed, augmentation)
        self.path = Path(path)
        self.names = (train_split, val_split)
        self.num_workers = num_workers
        self.allow_outside = allow_outside
        self.composed = composed
        self.composed_val = composed_val
        self.variety = variety
        self.leave_out = tuple(leave_out)
        self.fonts_dirs = tuple(fonts_dirs)
        if not isinstance(composed, int) or composed < 0 or not 0 <= variety <= 1:
            raise DataLoaderError(
                "khmer_digits: composed must be an integer >= 0 and variety within 0-1, "
                f"got {composed!r} and {variety!r}"
            )
        if not isinstance(composed_val, int) or composed_val < 0 or (composed_val and not composed):
            raise DataLoaderError(
                "khmer_digits: composed_val must be an integer >= 0, and 0 without composed, "
                f"got {composed_val!r}"
            )
        for name, value in (("leave_out", leave_out), ("fonts_dirs", fonts_dirs)):
            listed = isinstance(value, (list, tuple))
            named = listed and all(isinstance(one, (str, os.PathLike)) for one in value)
            if not named or (value and not composed):
                raise DataLoaderError(
                    f"khmer_digits: {name} must be a list of names, empty without composed, "
                    f"got {value!r}" + (f"; write [{value}]" if isinstance(value, str) else "")
                )

    @cached_property
    def sheet(self) -> GlyphSheet:
        """The faces that are composed."""
        whole = glyph_sheet(self.fonts_dirs)
        families = {family_of(name) for name in whole.names}
        there = (*families, *RESERVED_FAMILIES)  # these are left out in any case
        unknown = [
            f"khmer_digits: leave_out: {unknown_name('family', name, families)}"
            for name in self.leave_out
            if not any(belongs_to(family, [name]) for family in there)
        ]
        if unknown:
            raise DataLoaderError("\n".join(unknown))
        sheet = whole.without(self.leave_out)
        if not len(sheet):
            raise DataLoaderError(
                "khmer_digits: leave_out must leave a face to compose from, got "
                f"{list(self.leave_out)}, which are parts of the names of all {len(whole)}"
            )
        left = sorted(families - {family_of(name) for name in sheet.names})
        if left:
            logger.info(
                "left out %d of %d faces: %s", len(whole) - len(sheet), len(whole), ", ".join(left)
            )
        return sheet

    @cached_property
    def splits(self) -> dict[str, PackedSplit]:
        """The packed splits by name, read once."""
        if self.path == Path(DEFAULT_METADATA_PATH):
            ensure_default_data(
                self.path, lambda images, total: progress(images, total, "default set")
            )
        return load_splits(
            self.path,
            self.names[1:] if self.composed else self.names,
            allow_outside=self.allow_outside,
            num_workers=self.num_workers,
        )

    @cached_property
    def validation(self) -> PackedSplit:
        """What is validated on where training images are composed."""
        if not self.composed_val or self.path != Path(DEFAULT_METADATA_PATH):
            return self.splits[self.names[1]]
        images, texts = SyntheticComposer(self.sheet, VALIDATION_SEED).batch(self.composed_val)
        return PackedSplit(images, encoded(texts), name=self.names[1])

    def _read(self) -> tuple[LabelledImages, LabelledImages]:
        train, val = (self.splits[name] for name in self.names)
        return (
            LabelledImages(train.images[:, None], train.targets),
            LabelledImages(val.images[:, None], val.targets),
        )

    def prepare(self) -> None:
        if self.composed:
            _ = self.sheet  # says what is wrong with its options before anything is read
        _ = self.splits
        if self.composed:
            _ = self.sheet.middle_lines, self.validation

    def augment(self) -> Augment | None:
        return BatchAugment()

    def loaders(self, config: TrainingConfig) -> tuple[DataLoader, DataLoader]:
        if self.composed:
            return self._composed_loaders(config.batch_size, config.seed)
        return create_data_loaders(config, splits=self.splits)

    def get_dataloaders(self, batch_size: int = 32) -> tuple[DataLoader, DataLoader]:
        if self.composed:
            return self._composed_loaders(batch_size, self.seed)
        return super().get_dataloaders(batch_size)

    def _composed_loaders(self, batch_size: int, seed: int) -> tuple[DataLoader, DataLoader]:
        train = ComposedBatches(self.sheet, self.composed, batch_size, seed, self.variety)
        validation = KhmerDigitsDataset.from_packed(self.validation)
        return train.loader(), memory_loader(validation, batch_size, shuffle=False)


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


@DatasetRegistry.register("mnist")
class MNIST(ImageDataset):
    """Handwritten digits from the four IDX files of that set, gzipped or not.

    LeCun, Cortes and Burges, "The MNIST database of handwritten digits" (1998); its test files
    are the validation split.

    Args:
        path: the folder that holds the files.

    Raises:
        DataNotFoundError: when a file is absent; says where to put it.
        DataLoaderError: when a file is damaged.
    """

    FILES = (
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    )

    def __init__(
        self, path: PathLike = "data/mnist", seed: int = 0, augmentation: bool = False
    ) -> None:
        super().__init__(seed, augmentation)
        self.path = Path(path)

    def model_arguments(self) -> dict[str, Any]:
        return {"num_classes": 10, "in_channels": 1}

    def _read(self) -> tuple[LabelledImages, LabelledImages]:
        splits = []
        for images_name, labels_name in self.FILES:
            images = self._idx(images_name, 3)
            labels = self._idx(labels_name, 1)
            if len(images) != len(labels):
                raise DataLoaderError(
                    f"{self.path}: {images_name} and {labels_name} must hold as many samples, "
                    f"got {len(images)} and {len(labels)}"
                )
            splits.append(LabelledImages(images[:, None], labels.astype(np.int64)))
        return splits[0], splits[1]

    def _idx(self, name: str, dimensions: int) -> np.ndarray:
        """An IDX file's array uint8: magic 0, 0, 8, dimensions; sizes; bytes."""
        for file in (self.path / name, self.path / f"{name}.gz"):
            if file.is_file():
                break
        else:
            raise DataNotFoundError(
                f"{self.path}: must hold {name} or {name}.gz; put the four IDX files of MNIST "
                "there, or name their folder by --data"
            )
        try:
            content = gzip.decompress(file.read_bytes()) if file.suffix else file.read_bytes()
        except (OSError, EOFError) as error:
            raise DataLoaderError(f"{file}: not a readable gzip file: {error}") from None
        head = 4 + 4 * dimensions
        sizes = np.frombuffer(content[4:head].ljust(4 * dimensions, b"\0"), dtype=">u4")
        if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) != head + sizes.prod():
            raise DataLoaderError(f"{file}: must be an IDX file of {dimensions} dimensions")
        return np.frombuffer(content, dtype=np.uint8, offset=head).reshape(sizes.astype(int))
