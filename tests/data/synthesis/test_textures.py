import numpy as np

from raytune_ocr.data.synthesis.textures import BANK, textures, warps
from raytune_ocr.vocabulary import IMAGE_HEIGHT, IMAGE_WIDTH


def test_textures_reach_one_and_no_two_are_alike():
    made = textures(np.random.default_rng(1))
    assert made.shape == (BANK, IMAGE_HEIGHT, IMAGE_WIDTH) and made.dtype == np.float32
    np.testing.assert_allclose(np.abs(made).max(axis=(1, 2)), 1, rtol=1e-6)
    assert len({texture.tobytes() for texture in made}) == BANK
    np.testing.assert_array_equal(textures(np.random.default_rng(1)), made)


def test_a_perspective_moves_every_pixel_a_little_and_none_out_of_the_image():
    maps = warps(np.random.default_rng(1), 20)
    assert maps.shape == (20, IMAGE_HEIGHT, IMAGE_WIDTH)
    assert maps.min() >= 0 and maps.max() < IMAGE_HEIGHT * IMAGE_WIDTH
    rows, columns = np.divmod(maps, IMAGE_WIDTH)
    y, x = np.mgrid[0:IMAGE_HEIGHT, 0:IMAGE_WIDTH]
    middle = np.s_[:, IMAGE_HEIGHT // 2, IMAGE_WIDTH // 2]
    assert np.abs(rows - y)[middle].max() <= 1 and np.abs(columns - x)[middle].max() <= 1
    assert 1 < np.abs(columns - x).max() < IMAGE_WIDTH / 3
