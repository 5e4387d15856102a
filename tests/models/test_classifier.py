import pytest
import torch

from raytune_ocr.models import ModelRegistry
from raytune_ocr.models.classifier import ImageClassifier


@pytest.mark.parametrize("shape", [(3, 1, 8, 8), (2, 3, 33, 20)])
def test_images_of_any_size_have_a_logit_for_each_class(shape):
    model = ImageClassifier(num_classes=5, in_channels=shape[1], width=4).eval()
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    assert model(images).shape == (shape[0], 5)


def test_the_scale_of_the_pixels_does_not_matter_and_one_colour_is_finite():
    model = ImageClassifier(num_classes=2, width=4).eval()
    images = torch.rand(2, 1, 16, 16)
    torch.testing.assert_close(model(images), model(images * 200 + 20), atol=1e-4, rtol=1e-4)
    assert torch.isfinite(model(torch.full((1, 1, 16, 16), 7, dtype=torch.uint8))).all()


def test_each_convolution_doubles_the_channels():
    model = ModelRegistry.create("image_classifier", num_classes=2, width=4, depth=3)
    assert [layer.out_channels for layer in model.features[::3]] == [4, 8, 16]
    assert model.head[1].in_features == 16
