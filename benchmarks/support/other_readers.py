"""Readers of Khmer digits that people can install, each fed as suits it best.

A reader turns files into texts. The others are not made for loose digits of any brightness, so
that their images are prepared: dark on light, cropped to the ink, and more, as `PREPARATIONS`
lists. Preparing counts in their time, as decoding counts in ours.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from raytune_ocr.vocabulary import DIGITS

ASCII = str.maketrans("0123456789", DIGITS)
Prepare = Callable[[Image.Image], Image.Image]


class NotInstalledError(ImportError):
    """A reader is not there; says how to install it."""


class Reader(Protocol):
    """What is judged: texts of Khmer digits, one for each file."""

    def read(self, files: Sequence[Path]) -> list[str]:
        """Texts in the order of `files`."""


class Preparation(NamedTuple):
    """How an image is made ready.

    Attributes:
        margin: pixels of paper left around the ink; None keeps the whole image.
        height: pixels that the ink is scaled to; None keeps its size.
        stretch: spread the greys from black to white.
        threshold: make it black and white.
    """

    margin: int | None = 6
    height: int | None = None
    stretch: bool = True
    threshold: bool = False

    def __call__(self, image: Image.Image) -> Image.Image:
        """Dark ink on light paper, grey."""
        grey = dark_on_light(image.convert("L"))
        if self.margin is not None:
            grey = cropped(grey, self.margin, self.height)
        if self.stretch:
            grey = ImageOps.autocontrast(grey, cutoff=1)
        if self.threshold:
            level = otsu(np.asarray(grey))
            grey = grey.point([0 if value <= level else 255 for value in range(256)])
        return grey

    def __str__(self) -> str:
        parts = ["whole image" if self.margin is None else f"cropped, margin {self.margin}"]
        parts += [f"ink {self.height} px high"] if self.height else []
        parts += ["autocontrast"] if self.stretch else []
        parts += ["thresholded"] if self.threshold else []
        return ", ".join(parts)


def dark_on_light(grey: Image.Image) -> Image.Image:
    """The image, or its negative where the border is darker than the middle of its greys."""
    pixels = np.asarray(grey)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    low, high = np.percentile(pixels, (1, 99))
    return ImageOps.invert(grey) if np.median(border) < (float(low) + float(high)) / 2 else grey


def otsu(pixels: np.ndarray) -> int:
    """The grey that splits uint8 `pixels` best in two (Otsu 1979)."""
    counts = np.bincount(pixels.ravel(), minlength=256).astype(np.float64)
    below = counts.cumsum()
    sums = (counts * np.arange(256)).cumsum()
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return int(np.nan_to_num(between).argmax())


def cropped(grey: Image.Image, margin: int, height: int | None) -> Image.Image:
    """The ink of a dark-on-light image with `margin` pixels of paper around it."""
    paper = grey.filter(ImageFilter.GaussianBlur(1))
    pixels = np.asarray(paper, dtype=np.float64)
    pixels = pixels - _slope(pixels)  # uneven light
    pixels = np.clip(pixels - pixels.min(), 0, 255).astype(np.uint8)
    ink = pixels <= otsu(pixels)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    colour = int(np.median(np.asarray(grey)))
    around = ImageOps.expand(grey, margin, colour)
    left, top, right, bottom = box
    cut = around.crop((left, top, right + 2 * margin, bottom + 2 * margin))
    if height is None:
        return cut
    scale = height / (bottom - top)
    size = max(1, round(cut.width * scale)), max(1, round(cut.height * scale))
    return cut.resize(size, Image.Resampling.BICUBIC)


def _slope(pixels: np.ndarray) -> np.ndarray:
    """The plane that fits the pixels best."""
    y, x = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]]
    terms = np.stack([np.ones(pixels.size), x.ravel(), y.ravel()], axis=1)
    weights = np.linalg.lstsq(terms, pixels.ravel(), rcond=None)[0]
    return np.asarray((terms @ weights).reshape(pixels.shape))


def digits_of(text: str) -> str:
    """The digits in what a reader wrote, ASCII ones as Khmer."""
    return "".join(char for char in text.translate(ASCII) if char in DIGITS)


class Ours:
    """A checkpoint of this package; decodes the files itself.

    Args:
        mixed_precision: as `predict` reads the shipped presets where the machine is fast in it;
            float32 otherwise.
        second_look: as `predict` does unless told not to.
    """

    def __init__(
        self, checkpoint: Path, mixed_precision: bool = False, second_look: bool = True
    ) -> None:
        from raytune_ocr.training import load_reader

        self.model, self.config = load_reader(checkpoint)
        self.mixed_precision = mixed_precision
        self.second_look = second_look

    def read(self, files: Sequence[Path]) -> list[str]:
        from raytune_ocr.inference.reading import predict

        readings = predict(
            self.model,
            files,
            mixed_precision=self.mixed_precision,
            second_look=self.second_look,
        )
        return [reading.text for reading in readings]


class Tesseract:
    """Tesseract's `khm`, one process on one thread for all files, digits alone allowed."""

    def __init__(self, prepare: Prepare, page_segmentation: int = 13) -> None:
        program = shutil.which("tesseract")
        languages = (
            subprocess.run([program, "--list-langs"], capture_output=True, text=True).stdout
            if program
            else ""
        )
        if "khm" not in languages:
            raise NotInstalledError("apt-get install tesseract-ocr tesseract-ocr-khm")
        self.program = str(program)
        self.prepare = prepare
        self.page_segmentation = page_segmentation

    def read(self, files: Sequence[Path]) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            names = []
            for number, file in enumerate(files):
                names.append(f"{folder}/{number}.png")
                with Image.open(file) as image:
                    self.prepare(image).save(names[-1], dpi=(300, 300), compress_level=1)
            return [digits_of(page) for page in self._pages(names)]

    def _pages(self, names: Sequence[str]) -> list[str]:
        """What stands on each page; nothing on one that it crashes over, as it does on some."""
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as index:
            index.write("\n".join(names) + "\n")
            index.flush()
            done = subprocess.run(
                [
                    *(self.program, index.name, "stdout", "-l", "khm"),
                    *("--psm", str(self.page_segmentation)),
                    *("-c", f"tessedit_char_whitelist={DIGITS}", "-c", "page_separator=\f"),
                ],
                capture_output=True,
                text=True,
                env={"OMP_THREAD_LIMIT": "1", "PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            )
        pages = done.stdout.split("\f")[: len(names)]
        if done.returncode == 0 and len(pages) == len(names):
            return pages
        if len(names) == 1:
            return [""]
        middle = len(names) // 2
        return self._pages(names[:middle]) + self._pages(names[middle:])


class KhmerOcrOcm:
    """`khmer-ocr-ocm` of PyPI, whose wheel holds its weights; it wants 512 x 48 pixels."""

    SIZE = (512, 48)
    _model: Any = None

    def __init__(self, prepare: Prepare, letterbox: bool = True) -> None:
        try:
            from khmer_ocr_ocm import KhmerOCR
        except ImportError:
            raise NotInstalledError("pip install khmer-ocr-ocm") from None
        if KhmerOcrOcm._model is None:
            KhmerOcrOcm._model = KhmerOCR(device="cpu")
        self.prepare = prepare
        self.letterbox = letterbox

    def read(self, files: Sequence[Path]) -> list[str]:
        images = []
        for file in files:
            with Image.open(file) as image:
                ready = self.prepare(image)
            images.append(letterboxed(ready, self.SIZE) if self.letterbox else ready)
        return [digits_of(text) for text in self._model.predict_batch(images, batch_size=8)]


def letterboxed(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """`image` scaled to fit into `size`, at the left, the rest paper."""
    scale = min(size[0] / image.width, size[1] / image.height)
    scaled = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    canvas = Image.new("L", size, int(np.percentile(np.asarray(scaled), 90)))
    canvas.paste(scaled, (0, (size[1] - scaled.height) // 2))
    return canvas
