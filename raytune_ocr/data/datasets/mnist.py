"""MNIST in its own file format."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from raytune_ocr.data.datasets.base import ImageDataset, LabelledImages
from raytune_ocr.data.registry import DatasetRegistry, PathLike
from raytune_ocr.errors import DataLoaderError, DataNotFoundError


@DatasetRegistry.register("mnist")
class MNIST(ImageDataset):
    """Handwritten digits from the four IDX files of that set, gzipped or not.

    LeCun, Cortes and Burges, "The MNIST database of handwritten digits" (1998); its test files
    are the validation split.

    Args:
        path: the folder with the files.

    Raises:
        DataNotFoundError: a file is missing; says where to put it.
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

    def model_facts(self) -> dict[str, Any]:
        return {**super().model_facts(), "class_names": list("0123456789")}

    def model_arguments(self) -> dict[str, Any]:
        return {"num_classes": 10, "in_channels": 1}

    def _read(self) -> tuple[LabelledImages, LabelledImages]:
        splits = []
        for images_name, labels_name in self.FILES:
            images = self._idx(images_name, 3)
            labels = self._idx(labels_name, 1)
            if len(images) != len(labels):
                raise DataLoaderError(
                    f"{self.path}: {images_name} and {labels_name} must have equally many samples, "
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
                f"{self.path}: must contain {name} or {name}.gz; put the four IDX files of MNIST "
                "there, or name their folder with --data"
            )
        try:
            content = gzip.decompress(file.read_bytes()) if file.suffix else file.read_bytes()
        except (OSError, EOFError) as error:
            raise DataLoaderError(f"{file}: not a readable gzip file: {error}") from None
        head = 4 + 4 * dimensions
        sizes = np.frombuffer(content[4:head].ljust(4 * dimensions, b"\0"), dtype=">u4")
        if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) != head + sizes.prod():
            raise DataLoaderError(f"{file}: must be an IDX file with {dimensions} dimensions")
        return np.frombuffer(content, dtype=np.uint8, offset=head).reshape(sizes.astype(int))
