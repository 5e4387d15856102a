"""Compose strings of digits from a glyph sheet, with the effects of cameras and printers.

A pool of styled faces (stroke, shear, turn, width and height drawn at random) is kept and
renewed as images are made; strings are pasted from it, and effects run on whole batches.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from raytune_ocr.data.synthesis.glyphs import GLYPH_HEIGHT, GLYPH_WIDTH, GlyphSheet
from raytune_ocr.data.synthesis.strokes import bent, written
from raytune_ocr.data.synthesis.textures import BANK, textures, warps
from raytune_ocr.vocabulary import DIGITS, IMAGE_HEIGHT, IMAGE_WIDTH, MAX_DIGITS, NUM_DIGITS

POOL_SIZE = 384  # styled faces at a time
RENEWED_STYLES = 0.4  # for every chunk of images: about 1.7 ms each
CHUNK = 64  # images at a time: 64 x 8192 floats stay in a core's cache
HEIGHTS = (13, 56)  # pixels of a glyph; small ones are drawn more often
SMALLEST = 9  # pixels of a glyph if variety > 0
MARGIN = 4  # columns left free on either side; half as many rows
FULL_DAMAGE = 26  # pixels of height from which on noise and blur come in full
FRAMED = 0.12  # share of images with the edge of their paper, if variety > 0
COMPRESSED = 0.35  # share of images with JPEG artefacts, if variety > 0
JPEG_QUALITIES = (25, 96)
LEAST_DAMAGE = 0.8  # of the full damage, to the smallest glyphs if variety > 0


@dataclass(frozen=True)
class _Style:
    """Ten glyphs of one height, float32 [h, w_digit] from 0 to 1, ready to paste."""

    glyphs: list[np.ndarray]
    height: int


class SyntheticComposer:
    """Makes batches of images and labels; the same seed gives the same sequence of batches.

    Args:
        sheet: faces to use (default: the bundled ones).
        seed: of all randomness.
        lengths: fewest and most digits of a string, within 1 to 8.
        degrade: chance of each kind of damage (noise, blur, texture, warp) to an image, relative
            to the usual; 0 gives clean print.
        variety: share of styles that no font has, 0 to 1: half of them bent print, half
            handwritten. Any variety > 0 also adds smaller glyphs, frames of scans and JPEG, and
            draws families with equal probability instead of fonts.

    Raises:
        ValueError: for lengths or variety out of range.
    """

    def __init__(
        self,
        sheet: GlyphSheet | None = None,
        seed: int = 0,
        lengths: tuple[int, int] = (1, MAX_DIGITS),
        degrade: float = 1.0,
        variety: float = 0.0,
    ) -> None:
        if not 0 <= variety <= 1:
            raise ValueError(f"variety: must be within 0-1, got {variety}")
        if not 1 <= lengths[0] <= lengths[1] <= MAX_DIGITS:
            raise ValueError(f"lengths: must be within 1-{MAX_DIGITS}, got {lengths}")
        self.sheet = sheet if sheet is not None else GlyphSheet.load_bundled()
        self.lengths = lengths
        self.degrade = degrade
        self.variety = variety
        self._rng = np.random.default_rng(seed)
        self._pool: list[_Style] = []
        self._widths = np.zeros((POOL_SIZE, NUM_DIGITS + 1), dtype=np.int64)  # and 0 for no digit
        self._heights = np.zeros(POOL_SIZE, dtype=np.int64)
        self._fill_pool()
        self._textures = textures(self._rng)
        self._noises = self._rng.standard_normal((BANK, IMAGE_HEIGHT, IMAGE_WIDTH), np.float32)
        self._warps = warps(self._rng)

    def restart(self, seed: int | tuple[int, ...]) -> None:
        """Start the sequence of batches of another seed; textures and noises stay."""
        self._rng = np.random.default_rng(seed)
        self._fill_pool()

    def batch(self, size: int) -> tuple[np.ndarray, list[str]]:
        """`size` images uint8 [N, H, W] and their labels."""
        images = np.empty((size, IMAGE_HEIGHT, IMAGE_WIDTH), dtype=np.uint8)
        texts: list[str] = []
        for start in range(0, size, CHUNK):
            count = min(CHUNK, size - start)
            self._renew(count)
            ink, labels, heights = self._paste(count)
            texts.extend(labels)
            images[start : start + count] = self._finish(ink, heights)
        return images, texts

    # Faces

    def _fill_pool(self) -> None:
        self._pool = []
        for place in range(POOL_SIZE):
            self._pool.append(self._new_style(place))
        self._owed = 0.0

    def _renew(self, images: int) -> None:
        self._owed += RENEWED_STYLES * images / CHUNK
        while self._owed >= 1:
            self._owed -= 1
            place = int(self._rng.integers(POOL_SIZE))
            self._pool[place] = self._new_style(place)

    def _new_style(self, place: int) -> _Style:
        """One face, deformed and scaled: ten glyphs of one height, for `place` in the pool."""
        rng = self._rng
        face = self._draw_face()
        low, high = (SMALLEST if self.variety else HEIGHTS[0]), HEIGHTS[1]
        height = int(low + (high - low) * rng.random() ** 1.4)
        of_no_face = rng.random() if self.variety else 1.0
        if of_no_face < self.variety / 2:
            return self._keep_style(place, self._written(face, height), height)
        stroke = int(rng.choice([-1, 0, 0, 0, 1])) if height >= 22 else 0
        stretch = float(np.exp(rng.normal(0, 0.12)))
        shear = float(rng.normal(0, 0.12))
        turn = float(rng.normal(0, 0.05))
        glyphs = [
            _styled(glyph, width, height, stroke, stretch, shear, turn)
            for glyph, width in zip(self.sheet.glyphs[face], self.sheet.widths[face], strict=True)
        ]
        if of_no_face < self.variety:
            glyphs = [bent(glyph, rng) for glyph in glyphs]
        return self._keep_style(place, glyphs, height)

    def _draw_face(self) -> int:
        """Draw a face; with variety > 0, draw a family first, since one may have ten faces."""
        if not self.variety:
            return int(self._rng.integers(len(self.sheet)))
        families = self.sheet.families
        family = families[int(self._rng.integers(len(families)))]
        return family[int(self._rng.integers(len(family)))]

    def _written(self, face: int, height: int) -> list[np.ndarray]:
        """Return ten handwritten digits with small differences of width and slant."""
        rng = self._rng
        pen = max(1.0, height * rng.uniform(0.03, 0.1))
        stretch, slant = float(np.exp(rng.normal(0, 0.15))), float(rng.normal(0, 0.12))
        return [
            written(
                self.sheet.middle_lines[face, digit],
                height,
                pen,
                stretch * float(np.exp(rng.normal(0, 0.1))),
                slant + float(rng.normal(0, 0.05)),
                rng,
            )
            for digit in range(NUM_DIGITS)
        ]

    def _keep_style(self, place: int, glyphs: list[np.ndarray], height: int) -> _Style:
        self._widths[place, :NUM_DIGITS] = [glyph.shape[1] for glyph in glyphs]
        self._heights[place] = height
        return _Style(glyphs, height)

    # Layout

    def _paste(self, count: int) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Ink float32 [N, H, W] from 0 to 1, the labels, and the glyphs' heights [N]."""
        rng = self._rng
        ink = np.zeros((count, IMAGE_HEIGHT, IMAGE_WIDTH), dtype=np.float32)
        wanted = rng.integers(self.lengths[0], self.lengths[1] + 1, count)
        digits = rng.integers(0, NUM_DIGITS, (count, MAX_DIGITS))
        digits[np.arange(MAX_DIGITS) >= wanted[:, None]] = NUM_DIGITS
        gaps = np.clip(rng.normal(0.12, 0.09, count), 0.03, 0.5)
        styles, totals = self._fitting_styles(digits, wanted, gaps)
        slopes = rng.normal(0, 0.04, count).tolist()
        shifts = rng.random((count, 2)).tolist()
        steps = (gaps * self._heights[styles]).tolist()
        labels = []
        for i in range(count):
            chosen = digits[i, : wanted[i]].tolist()
            style = self._pool[styles[i]]
            _write(ink[i], style, chosen, steps[i], totals[i], slopes[i], shifts[i])
            labels.append("".join([DIGITS[d] for d in chosen]))
        return ink, labels, self._heights[styles]

    def _fitting_styles(
        self, digits: np.ndarray, wanted: np.ndarray, gaps: np.ndarray
    ) -> tuple[np.ndarray, list[float]]:
        """Return for each string a random style in which it fits, and its width in it.

        Of sixteen drawn styles the first that fits is taken, the narrowest if none does.
        """
        drawn = self._rng.integers(0, POOL_SIZE, (len(digits), 16))
        inked = self._widths[drawn[:, :, None], digits[:, None, :]].sum(axis=2)
        total = inked + (gaps * (wanted - 1))[:, None] * self._heights[drawn]
        fits = total <= IMAGE_WIDTH - 2 * MARGIN
        chosen = np.where(fits.any(axis=1), fits.argmax(axis=1), total.argmin(axis=1))
        rows = np.arange(len(digits))
        return drawn[rows, chosen], total[rows, chosen].tolist()

    # Effects

    def _finish(self, ink: np.ndarray, heights: np.ndarray) -> np.ndarray:
        """Images uint8 of `ink`: warp, blur, colours, shading, texture, noise."""
        rng = self._rng
        count = len(ink)
        self._warp(ink)
        least = LEAST_DAMAGE if self.variety else 0.0
        damage = self.degrade * np.clip((heights - 6) / (FULL_DAMAGE - 6), least, 1)
        self._blur(ink, damage)
        paper = rng.uniform(0, 255, count)
        contrast = rng.uniform(80, 255, count)
        sign = np.where(rng.random(count) < paper / 255, -1, 1)
        fore = np.clip(paper + sign * contrast, 0, 255)
        # Too pale a pair is pushed apart on the side where there is room.
        pale = np.abs(fore - paper) < 70
        fore[pale] = np.where(paper[pale] > 127, paper[pale] - 90, paper[pale] + 90)
        image = ink
        image *= (fore - paper).astype(np.float32)[:, None, None]
        image += paper.astype(np.float32)[:, None, None]
        room = np.abs(fore - paper)
        if self.variety:
            self._frame(image, room)
        self._shade(image, room)
        noisy = np.flatnonzero(rng.random(count) < 0.7 * min(1.0, self.degrade))
        loudest = 0.35 if self.variety else 0.14
        levels = rng.random(len(noisy)) ** 2 * loudest * (room * damage)[noisy]
        levels = levels.astype(np.float32)
        which = rng.integers(0, BANK, len(noisy))
        for i, level, bank in zip(noisy, levels, which, strict=True):
            image[i] += level * self._noises[bank]
        np.clip(image, 0, 255, out=image)
        pixels = image.astype(np.uint8)
        if self.variety:
            self._compress(pixels)
        return pixels

    def _compress(self, pixels: np.ndarray) -> None:
        """Apply JPEG compression to a part of the images."""
        rng = self._rng
        chosen = np.flatnonzero(rng.random(len(pixels)) < COMPRESSED * min(1.0, self.degrade))
        qualities = rng.integers(*JPEG_QUALITIES, len(chosen)).tolist()
        for i, quality in zip(chosen, qualities, strict=True):
            file = io.BytesIO()
            Image.fromarray(pixels[i]).save(file, "JPEG", quality=quality)
            pixels[i] = np.asarray(Image.open(file))

    def _frame(self, image: np.ndarray, room: np.ndarray) -> None:
        """Draw the frame of a scan: flat bands of another tone, thin dark edges."""
        rng = self._rng
        for i in np.flatnonzero(rng.random(len(image)) < FRAMED):
            middle = np.median(image[i])
            inked = np.flatnonzero(np.abs(image[i] - middle).max(axis=0) > 0.25 * room[i])
            if len(inked) == 0:
                continue
            left = int(rng.integers(0, max(1, inked[0] - 1)))
            right = int(rng.integers(min(inked[-1] + 2, IMAGE_WIDTH - 1), IMAGE_WIDTH))
            tone, edge = middle + rng.normal(0, 0.1, 2) * room[i]
            image[i, :, :left] = tone
            image[i, :, right + 1 :] = tone
            for column, chance in ((left, 0.4), (right, 0.4)):
                if rng.random() < chance:
                    image[i, :, column] = edge
            if rng.random() < 0.3:
                image[i, -rng.integers(0, 2), left : right + 1] = edge

    def _shade(self, image: np.ndarray, room: np.ndarray) -> None:
        """Uneven light on half of the images: a texture from the bank, up to 40 % of contrast."""
        rng = self._rng
        chosen = np.flatnonzero(rng.random(len(image)) < 0.5 * min(1.0, self.degrade))
        deepest = 0.8 if self.variety else 0.35
        strength = (rng.random(len(chosen)) * deepest * room[chosen]).astype(np.float32)
        which = rng.integers(0, BANK, len(chosen))
        for i, level, bank in zip(chosen, strength, which, strict=True):
            image[i] += level * self._textures[bank]

    def _blur(self, ink: np.ndarray, damage: np.ndarray) -> None:
        """Blur a part of the images with a 3 x 3 box, once or twice."""
        rng = self._rng
        for chance in (0.5, 0.3) if self.variety else (0.35, 0.15):
            chosen = np.flatnonzero(rng.random(len(ink)) < chance * damage)
            if len(chosen):
                part = ink[chosen]
                part[:, 1:-1] = (part[:, :-2] + part[:, 1:-1] + part[:, 2:]) / 3
                part[:, :, 1:-1] = (part[:, :, :-2] + part[:, :, 1:-1] + part[:, :, 2:]) / 3
                ink[chosen] = part

    def _warp(self, ink: np.ndarray) -> None:
        """Rotate a part of the images, with perspective."""
        rng = self._rng
        share = 0.3 if self.variety else 0.15
        chosen = np.flatnonzero(rng.random(len(ink)) < share * self.degrade)
        which = rng.integers(0, len(self._warps), len(chosen))
        for i, warp in zip(chosen, which, strict=True):
            ink[i] = ink[i].take(self._warps[warp])


def _styled(
    glyph: np.ndarray,
    width: int,
    height: int,
    stroke: int,
    stretch: float,
    shear: float,
    turn: float,
) -> np.ndarray:
    """A glyph thickened or thinned, sheared, turned, scaled to `height`; float32 from 0 to 1."""
    margin = 8
    picture = Image.new("L", (GLYPH_WIDTH + 2 * margin, GLYPH_HEIGHT + 2 * margin))
    picture.paste(Image.fromarray(glyph[:, :width]), (margin, margin))
    if stroke:
        kind = ImageFilter.MaxFilter if stroke > 0 else ImageFilter.MinFilter
        changed = picture.filter(kind(3))
        if np.asarray(changed).mean() > 0.35 * np.asarray(picture).mean():  # hairlines survive
            picture = changed
    scale = height / GLYPH_HEIGHT
    size = (
        max(3, round(picture.width * scale * stretch)),
        max(3, round(picture.height * scale)),
    )
    center_x, center_y = margin + width / 2, picture.height / 2
    across = 1 / (scale * stretch)
    down = 1 / scale
    # Output pixel (x, y) takes input (a x + b y + c, d x + e y + f).
    a, b = across, down * (shear - turn)
    d, e = across * turn, down
    c = center_x - a * size[0] / 2 - b * size[1] / 2
    f = center_y - d * size[0] / 2 - e * size[1] / 2
    if scale < 0.75:
        picture = picture.filter(ImageFilter.BoxBlur(0.5 / scale - 0.4))
    moved = picture.transform(
        size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
    )
    ink = np.asarray(moved, dtype=np.float32) / 255
    columns = np.flatnonzero(ink.max(axis=0) > 0.05)
    if len(columns) == 0:
        columns = np.array([0, ink.shape[1] - 1])
    rows = slice(max(0, (ink.shape[0] - height) // 2 - 1), (ink.shape[0] + height) // 2 + 2)
    return np.ascontiguousarray(ink[rows, columns[0] : columns[-1] + 1])


def _write(
    canvas: np.ndarray,
    style: _Style,
    digits: list[int],
    step: float,
    total: float,
    slope: float,
    shift: list[float],
) -> None:
    """Paste the digits on a sloping line, `step` columns between them, where they fit.

    A string that is wider than the image is squeezed: its digits touch, the last ones overlap.
    """
    tallest = style.glyphs[0].shape[0]
    free = IMAGE_WIDTH - 2 * MARGIN
    start = x = MARGIN + shift[0] * max(0.0, free - total)
    squeeze = min(1.0, free / total)
    rise = slope * min(total, free)
    y = MARGIN / 2 + shift[1] * max(0.0, IMAGE_HEIGHT - MARGIN - tallest - abs(rise))
    y += max(0.0, -rise)
    for digit in digits:
        glyph = style.glyphs[digit]
        width = glyph.shape[1]
        top = min(max(0, int(y + slope * (x - start))), IMAGE_HEIGHT - tallest)
        left = min(int(x), IMAGE_WIDTH - width)
        place = canvas[top : top + tallest, left : left + width]
        np.maximum(place, glyph, out=place)
        x += (width + step) * squeeze
