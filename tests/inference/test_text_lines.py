"""How many lines of text an image shows."""

import numpy as np

from raytune_ocr.data import SyntheticComposer
from raytune_ocr.inference.text_lines import count_lines


def test_composed_strings_are_one_line():
    images, _ = SyntheticComposer(seed=11).batch(200)
    assert sum(count_lines(image) > 1 for image in images) <= 1


def test_two_lines_are_two_and_a_blank_image_has_none():
    line = np.full((24, 128), 230, dtype=np.uint8)
    line[6:18, 10:110:8] = 20
    line[6:18, 11:111:8] = 20
    gap = np.full((16, 128), 230, dtype=np.uint8)
    assert count_lines(np.concatenate([line, gap[:8], line, gap[:8]])) == 2
    assert count_lines(np.concatenate([gap, line, gap, gap[:8]])) == 1
    assert count_lines(np.full((64, 128), 200, dtype=np.uint8)) == 0
