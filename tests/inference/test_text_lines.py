"""How many lines of text an image shows."""

import numpy as np

from raytune_ocr.data import SyntheticComposer
from raytune_ocr.inference.text_lines import count_lines


def test_composed_strings_are_one_line():
    images, _ = SyntheticComposer(seed=11).batch(200)
    assert sum(lines > 1 for lines in count_lines(images)) <= 1


def test_two_lines_are_two_and_a_blank_image_has_none():
    line = np.full((24, 128), 230, dtype=np.uint8)
    line[6:18, 10:110:8] = 20
    line[6:18, 11:111:8] = 20
    gap = np.full((16, 128), 230, dtype=np.uint8)
    two = np.concatenate([line, gap[:8], line, gap[:8]])
    one = np.concatenate([gap, line, gap, gap[:8]])
    assert count_lines(np.stack([two, one, np.full_like(one, 200)])) == [2, 1, 0]
