"""Ten digits of many faces, rasterised once: composing from a sheet is 30 times faster than
rendering, and loses nothing, since Khmer digits need no shaping."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from raytune_ocr.data.synthesis.strokes import thinned
from raytune_ocr.errors import DataLoaderError, DataNotFoundError
from raytune_ocr.vocabulary import DIGITS, NUM_DIGITS

logger = logging.getLogger(__name__)

GLYPH_HEIGHT = 40  # rows of a glyph; its baseline is shared by the ten digits of a face
GLYPH_WIDTH = 64  # columns of a glyph at most; `widths` has the real width

RESERVED_FAMILIES = (
    "Hanuman",
    "Koulen",
    "Nokora",
    "Suwannaphum",
    "Angkor",
    "Taprom",
    "Odor Mean Chey",
    "Dangrek",
    "Bayon",
    "Kantumruy",
    "Kantumruy Pro",
)
"""Never rendered here: they are reserved for evaluation."""

DEVELOPMENT_FAMILIES = ("Mondulkiri", "Busra", "Preahvihear", "Kdam Thmor")
"""Left out of training, to measure the accuracy on unseen fonts."""

FONT_SUFFIXES = (".ttf", ".otf", ".ttc")

_BUNDLED = Path(__file__).with_name("glyphs.npz")
_STYLE = re.compile(
    r" (Thin|Extra ?Light|Light|Regular|Medium|Semi ?Bold|Bold|Extra ?Bold|Black|Italic)\b"
)


class FontCheckError(DataLoaderError):
    """A font does not have ten distinct digits, or is reserved."""


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def belongs_to(name: str, families: Iterable[str]) -> bool:
    """Whether one of `families` is a part of a family or file name, however it is spelled.

    A family without a letter a-z is part of no name.
    """
    parts = filter(None, map(_letters, families))
    return any(part in _letters(name) for part in parts)


@dataclass(frozen=True)
class GlyphSheet:
    """Digits of F faces.

    Attributes:
        glyphs: uint8 [F, 10, GLYPH_HEIGHT, GLYPH_WIDTH], 255 is ink, flush left.
        widths: int64 [F, 10], columns that hold the glyph.
        names: F names of faces, family first.
    """

    glyphs: np.ndarray
    widths: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def middle_lines(self) -> np.ndarray:
        """Every glyph thinned to a line, bool [F, 10, GLYPH_HEIGHT, GLYPH_WIDTH]."""
        return thinned(self.glyphs)

    @cached_property
    def families(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of the faces of each family: its weights and its slanted faces."""
        members: dict[str, list[int]] = {}
        for number, name in enumerate(self.names):
            members.setdefault(family_of(name), []).append(number)
        return tuple(map(tuple, members.values()))

    @classmethod
    def load_bundled(cls) -> GlyphSheet:
        """The sheet that the package carries."""
        with np.load(_BUNDLED, allow_pickle=False) as stored:
            return cls(stored["glyphs"], stored["widths"], tuple(stored["names"].tolist()))

    @classmethod
    def from_fonts(
        cls, paths: Iterable[str | os.PathLike[str]], level: int = logging.WARNING
    ) -> GlyphSheet:
        """A sheet of the fonts that pass the check; the others are named at `level` and skipped.

        Raises:
            DataLoaderError: when none passes.
        """
        faces = []
        for path in paths:
            try:
                faces.append((face_name(path), *rasterise(path)))
            except FontCheckError as error:
                logger.log(level, "skipped %s", error)
        if not faces:
            raise DataLoaderError("no font with ten distinct Khmer digits among those given")
        names, glyphs, widths = zip(*faces, strict=True)
        return cls(np.stack(glyphs), np.stack(widths), tuple(names))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a compressed `.npz`."""
        names = np.array(self.names)
        np.savez_compressed(path, glyphs=self.glyphs, widths=self.widths, names=names)

    def select(self, keep: Sequence[int]) -> GlyphSheet:
        """The faces of those numbers."""
        index = np.asarray(keep, dtype=np.int64)
        return GlyphSheet(
            self.glyphs[index], self.widths[index], tuple(self.names[i] for i in index)
        )

    def without(self, families: Iterable[str]) -> GlyphSheet:
        """The faces of other families."""
        families = tuple(families)
        return self.select([i for i, n in enumerate(self.names) if not belongs_to(n, families)])

    def only(self, families: Iterable[str]) -> GlyphSheet:
        """The faces of these families."""
        families = tuple(families)
        return self.select([i for i, n in enumerate(self.names) if belongs_to(n, families)])

    def joined(self, other: GlyphSheet) -> GlyphSheet:
        """Both, without faces of `other` that look like one that is there already."""
        glyphs, widths, names = list(self.glyphs), list(self.widths), list(self.names)
        for face, width, name in zip(other.glyphs, other.widths, other.names, strict=True):
            if not any(looks_alike(face, known) for known in glyphs):
                glyphs.append(face)
                widths.append(width)
                names.append(name)
        return GlyphSheet(np.stack(glyphs), np.stack(widths), tuple(names))


def family_of(name: str) -> str:
    """Return a face's name without its weight and slant.

    >>> family_of("Khmer Busra Bold Italic")
    'Khmer Busra'
    """
    return _STYLE.sub("", name)


def looks_alike(face: np.ndarray, other: np.ndarray) -> bool:
    """Whether two faces [10, h, w] are one design: under 2 % of their ink differs."""
    difference = np.abs(face.astype(np.int16) - other.astype(np.int16)).sum()
    return bool(difference < 0.02 * face.sum())


def face_name(path: str | os.PathLike[str]) -> str:
    """Family and style as the font itself names them.

    Raises:
        FontCheckError: when the file is no font.
    """
    if belongs_to(Path(path).stem, RESERVED_FAMILIES):
        raise FontCheckError(f"{path}: reserved for evaluation, never rendered")
    try:
        family, style = ImageFont.truetype(str(path), 16).getname()
    except OSError as error:
        raise FontCheckError(f"{path}: not a font: {error}") from None
    return f"{family} {style}"


def rasterise(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ten digits uint8 [10, GLYPH_HEIGHT, GLYPH_WIDTH] and their widths int64 [10].

    The tallest digit fills the height, so that sizes of faces compare.

    Raises:
        FontCheckError: when the font is reserved, or its ten digits are not distinct and inked.
    """
    name = face_name(path)
    if belongs_to(name, RESERVED_FAMILIES):
        raise FontCheckError(f"{path}: {name} is reserved for evaluation")
    font = ImageFont.truetype(str(path), 4 * GLYPH_HEIGHT)
    drawn = np.stack([_draw(font, digit) for digit in DIGITS])
    problem = _problem_of(drawn)
    if problem:
        raise FontCheckError(f"{path}: {name}: {problem}")
    rows = np.flatnonzero(drawn.max(axis=(0, 2)))
    drawn = drawn[:, rows[0] : rows[-1] + 1]
    glyphs = np.zeros((NUM_DIGITS, GLYPH_HEIGHT, GLYPH_WIDTH), dtype=np.uint8)
    widths = np.zeros(NUM_DIGITS, dtype=np.int64)
    for digit, ink in enumerate(drawn):
        columns = np.flatnonzero(ink.max(axis=0))
        cut = Image.fromarray(ink[:, columns[0] : columns[-1] + 1])
        width = max(2, min(GLYPH_WIDTH, round(cut.width * GLYPH_HEIGHT / cut.height)))
        small = cut.resize((width, GLYPH_HEIGHT), Image.Resampling.BOX)
        glyphs[digit, :, :width] = np.asarray(small) // 17 * 17  # 16 levels compress well
        widths[digit] = width
    return glyphs, widths


def _draw(font: ImageFont.FreeTypeFont, digit: str) -> np.ndarray:
    canvas = Image.new("L", (12 * GLYPH_HEIGHT, 12 * GLYPH_HEIGHT))
    place = (3 * GLYPH_HEIGHT, 8 * GLYPH_HEIGHT)
    ImageDraw.Draw(canvas).text(place, digit, fill=255, font=font, anchor="ls")
    return np.asarray(canvas)


def _problem_of(drawn: np.ndarray) -> str:
    empty = [DIGITS[i] for i, ink in enumerate(drawn) if ink.max() == 0]
    if empty:
        return f"every digit must have a visible glyph, got blank ones for {', '.join(empty)}"
    seen: dict[bytes, str] = {}
    for digit, ink in zip(DIGITS, drawn, strict=True):
        twin = seen.setdefault(ink.tobytes(), digit)
        if twin != digit:
            return f"digits must be distinct, {twin} and {digit} look the same"
    return ""


def discover_fonts(folders: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Font files below `folders`, sorted, those with a reserved name left out.

    Raises:
        DataNotFoundError: for a folder that does not exist.
    """
    found: list[Path] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise DataNotFoundError(f"{folder}: no such folder of fonts")
        found.extend(p for p in folder.rglob("*") if p.suffix.lower() in FONT_SUFFIXES)
    return sorted(path for path in found if not belongs_to(path.stem, RESERVED_FAMILIES))


def system_font_folders() -> list[Path]:
    """Return the system's existing font folders."""
    home = Path.home()
    usual = (
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        home / ".fonts",
        home / ".local/share/fonts",
        Path("/Library/Fonts"),
        home / "Library/Fonts",
        Path("C:/Windows/Fonts"),
    )
    return [folder for folder in usual if folder.is_dir()]
