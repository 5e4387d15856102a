"""A trained model in Python: `raytune_ocr.load("training_output").read("scan.png").text`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.errors import DataLoaderError
from raytune_ocr.inference.formats import CONFIG, load_exported
from raytune_ocr.inference.locate import find_checkpoint
from raytune_ocr.inference.reading import ImageSource, Reading, predict
from raytune_ocr.models import folded
from raytune_ocr.training.model_config import load_model

if TYPE_CHECKING:
    from torch import nn

EXPORTED = (".safetensors", ".onnx")


@dataclass(frozen=True)
class Model:
    """A reader of digits or a classifier of images, on the CPU.

    Attributes:
        path: its file.
        network: what computes logits of images.
        config: it was trained with; None of an ONNX file, which has none.
    """

    path: Path
    network: nn.Module
    config: TrainingConfig | None = None

    @property
    def class_names(self) -> list[str] | None:
        """The classes of a classifier, in the order of its logits; None of a reader."""
        names = getattr(self.network, "class_names", None)
        return None if names is None else list(map(str, names))

    @cached_property
    def _fast_network(self) -> nn.Module:
        """The network, folded once: that takes as long as to read ten images."""
        return folded(self.network)

    def read(self, image: ImageSource, top_k: int = 1) -> Reading:
        """Return what is read in an image: a path, a PIL image or an array.

        Args:
            image: an array is uint8 or bool, or float from 0 to 1, [H, W] or [H, W, 1, 3 or 4].
            top_k: classes to name of a classifier; see `Reading.others`.

        Raises:
            DataLoaderError: it is no image.
        """
        (reading,) = self.read_all([image], top_k)
        return reading

    def read_all(
        self,
        images: Iterable[ImageSource],
        top_k: int = 1,
        batch_size: int = 64,
        mixed_precision: bool = False,
        second_look: bool = True,
    ) -> Iterator[Reading]:
        """Return the readings of images, in order and in batches; see `read`.

        Args:
            mixed_precision: compute in half precision where this machine is fast in it.
            second_look: read doubtful images of digits again at other sizes.
        """
        unreadable: list[str] = []
        readings = predict(
            self._fast_network,
            list(images),
            batch_size=batch_size,
            unreadable=unreadable,
            mixed_precision=mixed_precision,
            second_look=second_look,
            top_k=top_k,
        )
        for reading in readings:
            _raise(unreadable)
            yield reading
        _raise(unreadable)


def _raise(unreadable: Sequence[str]) -> None:
    if unreadable:
        raise DataLoaderError(f"{unreadable[0]}; must be an image file, a PIL image or an array")


def load(source: str | os.PathLike[str], imports: Sequence[str] = ()) -> Model:
    """Load the model of an output folder, a results JSON, a trial, a checkpoint or an export.

    Args:
        imports: modules to import first, for the models that they register.

    Raises:
        CheckpointError: there is no model, or it is damaged.
        ConfigurationError: it needs a module that is not imported, or a package.
    """
    path = find_checkpoint(os.fspath(source))
    if path.suffix not in EXPORTED:
        return Model(path, *load_model(path, imports))
    network = load_exported(path, imports)
    if path.suffix == ".onnx":
        return Model(path, network)
    content = load_yaml(path.with_name(CONFIG))
    return Model(path, network, TrainingConfig.from_dict(content, environment={}))
