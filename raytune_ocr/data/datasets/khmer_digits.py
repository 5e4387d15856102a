"""The dataset of Khmer digit strings: from files, or composed during training."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader

from raytune_ocr.config.training_config import DEFAULT_METADATA_PATH, TrainingConfig
from raytune_ocr.data.augment import BatchAugment
from raytune_ocr.data.datasets.base import ImageDataset, LabelledImages, digest_of
from raytune_ocr.data.loaders import KhmerDigitsDataset, create_data_loaders, memory_loader
from raytune_ocr.data.packed import PackedSplit
from raytune_ocr.data.registry import Augment, DatasetRegistry, PathLike
from raytune_ocr.data.split_files import (
    load_splits,
)
from raytune_ocr.data.synthesis.batches import ComposedBatches, encoded
from raytune_ocr.data.synthesis.composer import SyntheticComposer
from raytune_ocr.data.synthesis.generator import ensure_default_data, glyph_sheet
from raytune_ocr.data.synthesis.glyphs import RESERVED_FAMILIES, GlyphSheet, belongs_to, family_of
from raytune_ocr.errors import DataLoaderError, unknown_name
from raytune_ocr.progress import progress

logger = logging.getLogger(__name__)


VALIDATION_SEED = 1_000_003  # not a usual seed of a trial


@DatasetRegistry.register("khmer_digits")
class KhmerDigits(ImageDataset):
    """Strings of Khmer digits, in any layout that `load_split` reads.

    Args:
        path: a `metadata.yaml`, a `labels.csv`, or a folder; the default set is made if it is
            missing.
        num_workers: threads that decode images.
        allow_outside: accept image paths that leave the data folder and the working one.
        composed: training images per epoch that are composed during training, new ones in every
            epoch, instead of the training split; 0 trains on that split.
        composed_val: validation images like those of the default set, composed once with a fixed
            seed, instead of its few; other data keep their validation split.
        variety: share of composed styles that no font has (bent or handwritten), 0 to 1.
        leave_out: font families that composed images do not use. A name means every family with
            it as a part, in any spelling: `Busra` for Khmer Busra and Khmer Busra Bunong.
        fonts_dirs: folders of further fonts to compose from.

    Raises:
        DataLoaderError: an option breaks a rule; from `splits` and the loaders: files or labels do;
            from `sheet`: `leave_out` names no known family, or all of them.
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
                "khmer_digits: composed_val must be an integer >= 0, and 0 if composed is 0, "
                f"got {composed_val!r}"
            )
        for name, value in (("leave_out", leave_out), ("fonts_dirs", fonts_dirs)):
            listed = isinstance(value, (list, tuple))
            named = listed and all(isinstance(one, (str, os.PathLike)) for one in value)
            if not named or (value and not composed):
                raise DataLoaderError(
                    f"khmer_digits: {name} must be a list of names, and must be empty if composed "
                    f"is 0, got {value!r}"
                    + (f"; write [{value}]" if isinstance(value, str) else "")
                )

    @cached_property
    def sheet(self) -> GlyphSheet:
        """The faces that are composed."""
        whole = glyph_sheet(self.fonts_dirs)
        families = {family_of(name) for name in whole.names}
        there = (*families, *RESERVED_FAMILIES)  # reserved ones are always left out
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
                "khmer_digits: leave_out must leave at least one face to compose from, got "
                f"{list(self.leave_out)}, which matches all {len(whole)} faces"
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
        """Return the validation split when training images are composed."""
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
            _ = self.sheet  # raises for wrong options before anything is read
        _ = self.splits
        if self.composed:
            _ = self.sheet.middle_lines, self.validation

    def fingerprint(self) -> str:
        if not self.composed:
            return super().fingerprint()
        sheet = np.frombuffer("\n".join(self.sheet.names).encode(), np.uint8)
        return digest_of([self.validation.images, self.validation.targets, sheet])

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
