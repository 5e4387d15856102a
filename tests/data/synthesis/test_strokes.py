import numpy as np

from raytune_ocr.data.synthesis.glyphs import GLYPH_HEIGHT, GlyphSheet
from raytune_ocr.data.synthesis.strokes import bent, thinned, written
from raytune_ocr.vocabulary import NUM_DIGITS


def pieces(line) -> int:
    """Connected parts, neighbours on eight sides."""
    left = {tuple(place) for place in np.argwhere(line).tolist()}
    count = 0
    while left:
        count += 1
        edge = [left.pop()]
        while edge:
            y, x = edge.pop()
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            edge.extend(near)
    return count


def test_a_bar_is_thinned_to_its_middle_line():
    bar = np.zeros((20, 30), dtype=np.uint8)
    bar[8:13, 4:26] = 255
    line = thinned(bar)
    rows, columns = np.nonzero(line)
    assert set(rows.tolist()) == {10}
    assert columns.min() <= 8 and columns.max() >= 21


def test_thinning_keeps_every_glyph_in_as_many_pieces():
    sheet = GlyphSheet.load_bundled().select([4])
    for glyph, line in zip(sheet.glyphs[0], sheet.middle_lines[0], strict=True):
        assert pieces(line) == pieces(glyph >= 110)
        assert 0 < line.sum() < (glyph >= 110).sum() / 2


def test_a_written_digit_has_the_height_asked_for_and_begins_at_the_first_column():
    lines = GlyphSheet.load_bundled().middle_lines[0]
    rng = np.random.default_rng(0)
    for height in (9, 30, 56):
        for digit in range(NUM_DIGITS):
            ink = written(lines[digit], height, max(1.0, 0.06 * height), 1.0, 0.1, rng)
            assert ink.shape[0] == height and ink.dtype == np.float32
            assert ink.min() >= 0 and 0.5 < ink.max() <= 1
            assert ink[:, :2].max() > 0.2


def test_a_wider_pen_leaves_more_ink():
    line = GlyphSheet.load_bundled().middle_lines[0, 3]
    amounts = [
        written(line, 40, pen, 1.0, 0.0, np.random.default_rng(1)).sum() for pen in (1.5, 3, 6)
    ]
    assert amounts == sorted(amounts) and amounts[2] > 2 * amounts[0]


def test_bending_keeps_the_size_and_most_of_the_ink():
    glyph = GlyphSheet.load_bundled().glyphs[0, 5].astype(np.float32) / 255
    changed = bent(glyph, np.random.default_rng(2))
    assert changed.shape == (GLYPH_HEIGHT, glyph.shape[1])
    assert not np.array_equal(changed, glyph)
    assert 0.5 < changed.sum() / glyph.sum() < 1.5
