"""The images that readers are judged on: PNGs of strings, rendered from font files by Pillow.

Nothing of what makes the training images has a part in it: no glyph sheet, no composer, and a
degradation of its own, so that a reader is not judged by what it was trained to undo.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from raytune_ocr.data.split_files import find_samples
from raytune_ocr.data.synthesis.glyphs import (
    DEVELOPMENT_FAMILIES,
    RESERVED_FAMILIES,
    FontCheckError,
    GlyphSheet,
    belongs_to,
    discover_fonts,
    face_name,
    family_of,
    looks_alike,
    rasterise,
    system_font_folders,
)
from raytune_ocr.vocabulary import DIGITS, IMAGE_HEIGHT, IMAGE_WIDTH, MAX_DIGITS

TRAINED = "in training"
LEFT_OUT = "left out"
OTHER = "other faces"
INK_HEIGHTS = (12, 44)  # pixels, before a long string is made to fit
SMALLEST = 10
MARGIN = 3
CLEAN = (
    "size, place, grey of ink and paper (90 levels apart at least) at random; a quarter of the "
    "images light on dark"
)
DEGRADED = (
    "on top of that: turned by up to 4 degrees; Gaussian blur of 0.3 to 1.1 px on 60 %; contrast "
    "times 0.55 to 1; a slope of light of up to 25 levels each way; Gaussian noise of 2 to 16 "
    "levels; JPEG of quality 25 to 80"
)


@dataclass(frozen=True)
class Face:
    """A font file; all of a family are drawn as often as any other family."""

    name: str
    path: Path

    @property
    def family(self) -> str:
        """Its name without weight and style."""
        return family_of(self.name)


@dataclass(frozen=True)
class Cell:
    """Image files of one kind, what stands in them, and the families of rendered ones."""

    name: str
    files: list[Path]
    texts: list[str]
    families: list[str] = field(default_factory=list)


def find_faces(folders: Iterable[str | Path], workplace: Path) -> dict[str, list[Face]]:
    """Upright faces by whether the bundled sheet's training has seen their family.

    Args:
        folders: of fonts, web fonts too, beside the system's; faces of unknown families are
            taken from these alone, as `OTHER`.
        workplace: where web fonts are unpacked to.

    Raises:
        DataNotFoundError: for a folder that does not exist.
    """
    groups: dict[str, list[Face]] = {}
    shapes: dict[str, list[np.ndarray]] = {}
    sheet = GlyphSheet.load_bundled().without(DEVELOPMENT_FAMILIES)
    known = {family_of(name) for name in sheet.names}
    named = [Path(folder) for folder in folders]
    given = [*discover_fonts(named), *_unpacked(named, workplace)]
    for path in [*given, *discover_fonts(system_font_folders())]:
        try:
            face = Face(face_name(path), path)
            group = _group(face, known)
            if "Italic" in face.name or (group == OTHER and path not in given):
                continue
            shape = rasterise(path)[0]
        except FontCheckError:
            continue  # reserved, or no Khmer digits in it
        if group == OTHER and any(looks_alike(shape, there) for there in sheet.glyphs):
            group = TRAINED
        if not any(looks_alike(shape, there) for there in shapes.get(group, [])):
            groups.setdefault(group, []).append(face)
            shapes.setdefault(group, []).append(shape)
    return groups


def _group(face: Face, known: set[str]) -> str:
    if belongs_to(face.name, DEVELOPMENT_FAMILIES):
        return LEFT_OUT
    return TRAINED if face.family in known else OTHER


def _unpacked(folders: Sequence[Path], workplace: Path) -> list[Path]:
    """Web fonts below `folders` as plain ones; none without fontTools and brotli."""
    packed = [path for folder in folders for path in sorted(folder.rglob("*.woff2"))]
    packed = [path for path in packed if not belongs_to(path.stem, RESERVED_FAMILIES)]
    if not packed:
        return []
    try:
        import brotli  # noqa: F401
        from fontTools.ttLib import TTFont
    except ImportError as error:
        print(f"web fonts are left out: {error}; pip install '.[fonts]'")
        return []
    unpacked = []
    for path in packed:
        font = TTFont(path)
        if ord(DIGITS[0]) in (font.getBestCmap() or {}):
            font.flavor = None
            unpacked.append(workplace / f"{path.stem}.ttf")
            font.save(unpacked[-1])
    return unpacked


def rendered(
    name: str, faces: Sequence[Face], count: int, folder: Path, seed: int, degraded: bool
) -> Cell:
    """`count` PNGs in `folder`; the same seed and fonts give the same images."""
    rng = np.random.default_rng(seed)
    families: dict[str, list[Face]] = {}
    for face in faces:
        families.setdefault(face.family, []).append(face)
    choices = list(families.values())
    folder.mkdir(parents=True, exist_ok=True)
    cell = Cell(name, [], [])
    while len(cell.files) < count:
        family = choices[rng.integers(len(choices))]
        face = family[rng.integers(len(family))]
        text = "".join(rng.choice(list(DIGITS), rng.integers(1, MAX_DIGITS + 1)))
        image = _render(face, text, rng)
        if image is None:
            continue
        cell.files.append(folder / f"{len(cell.files):05d}.png")
        cell.texts.append(text)
        cell.families.append(face.family)
        (degrade(image, rng) if degraded else image).save(cell.files[-1])
    return cell


def _render(face: Face, text: str, rng: np.random.Generator) -> Image.Image | None:
    """`text` somewhere on paper, or None where it would be too small to read."""
    measure = ImageFont.truetype(str(face.path), 64)
    left, top, right, bottom = measure.getbbox(text)
    room = (IMAGE_WIDTH - 2 * MARGIN) / (right - left), (IMAGE_HEIGHT - 2 * MARGIN) / (bottom - top)
    scale = min(rng.uniform(*INK_HEIGHTS) / (bottom - top), *room)
    if scale * (bottom - top) < SMALLEST:
        return None
    font = ImageFont.truetype(str(face.path), int(64 * scale))
    left, top, right, bottom = font.getbbox(text)
    paper = int(rng.integers(150, 256))
    ink = int(rng.integers(0, paper - 89))
    if rng.random() < 0.25:
        paper, ink = ink, paper
    image = Image.new("L", (IMAGE_WIDTH, IMAGE_HEIGHT), paper)
    x = int(rng.integers(MARGIN, max(MARGIN, IMAGE_WIDTH - MARGIN - (right - left)) + 1))
    y = int(rng.integers(MARGIN, max(MARGIN, IMAGE_HEIGHT - MARGIN - (bottom - top)) + 1))
    ImageDraw.Draw(image).text((x - left, y - top), text, fill=ink, font=font)
    return image


def degrade(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """What `DEGRADED` says."""
    turned = image.rotate(
        rng.uniform(-4, 4), Image.Resampling.BILINEAR, fillcolor=image.getpixel((0, 0))
    )
    if rng.random() < 0.6:
        turned = turned.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.1)))
    pixels = np.asarray(turned, dtype=np.float64)
    across = np.linspace(-1, 1, image.width) * rng.uniform(-25, 25)
    down = np.linspace(-1, 1, image.height)[:, None] * rng.uniform(-25, 25)
    noise = rng.normal(0, rng.uniform(2, 16), pixels.shape)
    pixels = (pixels - 128) * rng.uniform(0.55, 1) + 128 + across + down + noise
    file = io.BytesIO()
    changed = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    changed.save(file, "JPEG", quality=int(rng.integers(25, 81)))
    return Image.open(file).convert("L")


def real(path: str | Path) -> Cell:
    """Somebody's own images: a `labels.csv`, or a folder per class, all splits together.

    Raises:
        DataLoaderError, DataNotFoundError: when it is neither.
    """
    samples = [one for split in find_samples(Path(path), False).values() for one in split]
    return Cell(Path(path).name, [one.path for one in samples], [one.text for one in samples])
