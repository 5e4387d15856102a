"""Tests of the image normaliser."""

import pytest
import torch

from raytune_ocr.models import ImageNormalizer


def strokes(seed: int = 0, batch: int = 4) -> torch.Tensor:
    """Dark strokes on an uneven light background, uint8 [B, 1, 64, 128]."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(190, 215, (batch, 1, 64, 128), generator=generator)
    images[:, :, 20:44, 30:40] = torch.randint(20, 40, (batch, 1, 24, 10), generator=generator)
    return images.to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_any_type_and_channels_become_one_float32_channel(
    channels: int, dtype: torch.dtype
) -> None:
    images = strokes().expand(-1, channels, -1, -1).to(dtype)
    normal = ImageNormalizer()(images)
    assert normal.shape == (4, 1, 64, 128)
    assert normal.dtype == torch.float32


def test_every_image_has_mean_zero() -> None:
    normal = ImageNormalizer()(strokes())
    assert torch.allclose(normal.mean(dim=(1, 2, 3)), torch.zeros(4), atol=1e-4)


@pytest.mark.parametrize("width", [4, 32, 120])
def test_little_ink_stands_out_as_much_as_a_lot_of_it(width: int) -> None:
    images = torch.full((1, 1, 64, 128), 200.0)
    images[:, :, 20:30, :width] = 30.0
    share = 10 * width / (64 * 128)
    normal = ImageNormalizer()(images)
    assert (normal.max() - normal.min()).item() == pytest.approx(
        (1 - 3 * share + 3 * share**2) ** -0.5, rel=1e-3
    )
    assert 1 < normal.max() - normal.min() < 1.3


def test_an_image_and_its_negative_come_out_equal() -> None:
    images = strokes()
    assert torch.allclose(ImageNormalizer()(images), ImageNormalizer()(255 - images), atol=1e-4)


def test_ink_comes_out_above_the_background() -> None:
    for images in (strokes(), 255 - strokes()):
        normal = ImageNormalizer()(images)
        assert (normal[:, :, 20:44, 30:40] > 0.8).all()
        assert normal[:, :, :10].max() < 0.2


@pytest.mark.parametrize("gain", [1e-12, 1e12])
def test_numbers_of_any_size_stay_finite(gain: float) -> None:
    images = strokes().float()
    changed = ImageNormalizer()(images * gain)
    assert torch.allclose(changed, ImageNormalizer()(images), atol=1e-3)


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 30.0), (1 / 255, 0.0), (2 / 255, -1.0)])
def test_range_and_contrast_do_not_matter(gain: float, offset: float) -> None:
    images = strokes().float()
    changed = ImageNormalizer()(images * gain + offset)
    assert torch.allclose(changed, ImageNormalizer()(images), atol=1e-3)


def test_grey_in_three_channels_equals_grey_in_one() -> None:
    images = strokes()
    threefold = ImageNormalizer()(images.expand(-1, 3, -1, -1))
    assert torch.allclose(threefold, ImageNormalizer()(images), atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.7, 1.0, 77.0, 255.0])
def test_an_image_of_one_colour_comes_out_empty(value: float) -> None:
    normal = ImageNormalizer()(torch.full((2, 1, 64, 128), value))
    assert normal.isfinite().all()
    assert normal.abs().max() < 0.05


def test_autocast_does_not_lower_its_precision() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ImageNormalizer()(strokes())
    assert inside.dtype == torch.float32
    assert torch.equal(inside, ImageNormalizer()(strokes()))


@pytest.mark.parametrize("shape", [(64, 128), (1, 64, 128), (2, 2, 64, 128), (2, 4, 64, 128)])
def test_other_shapes_are_refused_by_name(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \[B, 1\|3, H, W\], got"):
        ImageNormalizer()(torch.zeros(shape))
