"""Write the synthetic set: coloured PNGs, a table per split, and metadata."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from raytune_ocr.config.yaml_files import to_yaml
from raytune_ocr.data.metadata_files import METADATA_NAME
from raytune_ocr.data.synthesis.composer import SyntheticComposer
from raytune_ocr.data.synthesis.glyphs import (
    FONT_SUFFIXES,
    GlyphSheet,
    discover_fonts,
    system_font_folders,
)
from raytune_ocr.errors import DataLoaderError
from raytune_ocr.files import replacing
from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH, MAX_DIGITS

logger = logging.getLogger(__name__)

DEFAULT_SIZES = {"train": 8000, "val": 1000, "test": 1000}
DEFAULT_SEED = 2024
SHARES = {"train": 0.8, "val": 0.1}
BATCH = 256
WRITERS = 4  # threads: making a file mostly waits for the disk
TINT = 28.0  # levels by which a colour channel may leave grey

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


def glyph_sheet(
    fonts_dirs: Iterable[str | os.PathLike[str]] = (), system_fonts: bool = False
) -> GlyphSheet:
    """Return the bundled faces, those of `fonts_dirs` and, optionally, those of the system.

    Raises:
        DataLoaderError: one of `fonts_dirs` has no usable font.
    """
    sheet = GlyphSheet.load_bundled()
    folders = tuple(fonts_dirs)
    for folder in folders:
        if not discover_fonts([folder]):
            raise DataLoaderError(
                f"{folder}: must contain a font ({', '.join(FONT_SUFFIXES)}) of a family that is "
                "not reserved for evaluation, got none; name another folder, or none"
            )
    named = discover_fonts(folders)
    if named:
        sheet = sheet.joined(GlyphSheet.from_fonts(named))
    # Most fonts of a system have no Khmer digits, so do not warn.
    found = discover_fonts(system_font_folders()) if system_fonts else []
    try:
        return sheet.joined(GlyphSheet.from_fonts(found, logging.DEBUG)) if found else sheet
    except DataLoaderError:
        return sheet


def generate_dataset(
    output_dir: str | os.PathLike[str],
    num_samples: int = sum(DEFAULT_SIZES.values()),
    seed: int = DEFAULT_SEED,
    fonts_dirs: Iterable[str | os.PathLike[str]] = (),
    lengths: tuple[int, int] = (1, MAX_DIGITS),
    *,
    system_fonts: bool = False,
    sizes: dict[str, int] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write images and labels; the metadata comes last, so that a set with metadata is complete.

    Args:
        num_samples: images in all: 80 % train, 10 % val, 10 % test, at least one each.
        seed: the same seed, fonts and lengths give the same bytes.
        fonts_dirs: folders of fonts to add to the bundled faces.
        lengths: fewest and most digits of a string.
        sizes: images by split, instead of `num_samples`.
        progress: wraps the iterator of images, as `rich.progress.track` does.

    Returns:
        The path of `metadata.yaml`.

    Raises:
        DataLoaderError: when the fonts cannot be used.
        ValueError: for fewer than three samples or lengths out of range.
    """
    sizes = sizes or _sizes(num_samples)
    folder = Path(output_dir)
    sheet = glyph_sheet(fonts_dirs, system_fonts)
    composer = SyntheticComposer(sheet, seed, lengths)
    tints = np.random.default_rng((seed, 1))
    # Tables of an older set in the same folder must not name images that are being replaced.
    (folder / METADATA_NAME).unlink(missing_ok=True)
    images = _written(folder, sizes, composer, tints)
    for _ in progress(images, sum(sizes.values())) if progress else images:
        pass
    info = {
        "generator": "raytune_ocr",
        "seed": seed,
        "lengths": list(lengths),
        "image_size": [IMAGE_WIDTH, IMAGE_HEIGHT],
        "faces": sorted(set(sheet.names)),
        "total_samples": sum(sizes.values()),
    }
    splits = {name: {"num_samples": n, "table": f"{name}.csv"} for name, n in sizes.items()}
    with replacing(folder / METADATA_NAME) as aside:
        aside.write_text(to_yaml({"dataset_info": info, **splits}), encoding="utf-8")
    return folder / METADATA_NAME


def _sizes(total: int) -> dict[str, int]:
    if total < 3:
        raise ValueError(f"num_samples: must be an integer >= 3 (one per split), got {total}")
    val = test = max(1, round(total * SHARES["val"]))
    return {"train": total - val - test, "val": val, "test": test}


def _written(
    folder: Path, sizes: dict[str, int], composer: SyntheticComposer, tints: np.random.Generator
) -> Iterator[Path]:
    """Write split after split; yields each image's path when it is on the disk."""
    for split, size in sizes.items():
        (folder / split).mkdir(parents=True, exist_ok=True)
        rows: list[tuple[str, str]] = []
        with ThreadPoolExecutor(WRITERS) as pool:
            earlier: Iterable[Path] = ()
            for start in range(0, size, BATCH):
                images, texts = composer.batch(min(BATCH, size - start))
                names = [f"{split}/{start + offset:06d}.png" for offset in range(len(texts))]
                rows += zip(names, texts, strict=True)
                paths = [folder / name for name in names]
                pictures = [_tinted(image, tints) for image in images]
                written = pool.map(_write_png, paths, pictures)
                yield from earlier  # while these are written
                earlier = written
            yield from earlier
        with (
            replacing(folder / f"{split}.csv") as aside,
            aside.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(("file", "label"))
            writer.writerows(rows)


def _write_png(path: Path, picture: Image.Image) -> Path:
    """Write the file's bytes at once, twice as fast as letting Pillow write."""
    buffer = io.BytesIO()
    picture.save(buffer, "png", compress_level=1)
    path.write_bytes(buffer.getvalue())
    return path


def _tinted(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Return the grey image as a palette image with tinted dark and light ends.

    The luminance stays the same within rounding, except where the tint clips.
    """
    ends = rng.uniform(-TINT, TINT, (2, 3))
    ends -= (ends @ (0.299, 0.587, 0.114))[:, None]
    levels = np.arange(256)[:, None] / 255
    palette = 255 * levels + ends[0] * (1 - levels) + ends[1] * levels
    picture = Image.fromarray(image).convert("P")
    picture.putpalette(np.clip(palette, 0, 255).astype(np.uint8).tobytes())
    return picture


def ensure_default_data(path: str | os.PathLike[str], progress: Progress | None = None) -> Path:
    """Generate the default dataset at `path` (a `metadata.yaml`) if it is missing.

    It uses only the bundled faces, so that it is the same on every machine.
    """
    target = Path(path)
    if target.exists():
        return target
    logger.info("generating the default dataset in %s", target.parent)
    return generate_dataset(
        target.parent, seed=DEFAULT_SEED, sizes=dict(DEFAULT_SIZES), progress=progress
    )
