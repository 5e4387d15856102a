import json

import pytest
import torch
from torch import nn

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.yaml_files import to_yaml
from raytune_ocr.errors import CheckpointError, ConfigurationError
from raytune_ocr.inference.formats import (
    input_shape,
    load_exported,
    needed,
    write_onnx,
    write_safetensors,
)
from raytune_ocr.models import create_model


class Brightness(nn.Module):
    """Tells dark images of 2 x 2 pixels from light ones."""

    class_names = ("dark", "light")
    image_shape = (1, 2, 2)

    def forward(self, images):
        light = images.float().mean(dim=(1, 2, 3))
        return torch.stack([255 - light, light], dim=1)


@pytest.fixture
def weights(tmp_path):
    """A small reader in a file of its own, and its config beside it."""
    torch.manual_seed(1)
    model = create_model("small", temporal_width=4, hidden=4, channels=[2, 2], dilations=[1])
    write_safetensors(tmp_path / "model.safetensors", model)
    config = TrainingConfig(
        model_name="small",
        model_options={"temporal_width": 4, "hidden": 4, "channels": [2, 2], "dilations": [1]},
    )
    (tmp_path / "config.yaml").write_text(to_yaml(config.to_dict()))
    return tmp_path / "model.safetensors", model.eval()


def test_weights_are_read_back_to_the_bit(weights):
    path, model = weights
    images = torch.randint(0, 256, (2, 1, 64, 128), dtype=torch.uint8)
    loaded = load_exported(path)
    assert not loaded.training
    assert torch.equal(loaded(images), model(images))


def test_weights_without_their_config_or_of_another_model_are_refused(weights):
    path, _ = weights
    config = path.with_name("config.yaml")
    config.write_text(config.read_text().replace("hidden: 4", "hidden: 5"))
    with pytest.raises(CheckpointError, match=r"config\.yaml: its weights do not fit its config"):
        load_exported(path)
    config.write_text("learning_rate: -1\n")
    with pytest.raises(CheckpointError, match=r"config.yaml: learning_rate: must be a number > 0"):
        load_exported(path)
    config.unlink()
    with pytest.raises(CheckpointError, match=r"config.yaml: does not exist; model.safetensors"):
        load_exported(path)


def test_a_config_of_sizes_that_no_memory_holds_is_refused_before_the_model_is_made(weights):
    path, _ = weights
    config = path.with_name("config.yaml")
    config.write_text(config.read_text().replace("temporal_width: 4", "temporal_width: 200000"))
    with pytest.raises(CheckpointError, match=r"config\.yaml: its weights do not fit its config"):
        load_exported(path)  # its convolutions would take 480 GB


def test_damaged_weights_are_refused_by_their_own_name(weights):
    path, _ = weights
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: not a complete safetensors"):
        load_exported(path)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """The ONNX file of a classifier."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(path, Brightness())
    return path


def test_a_classifier_keeps_its_classes_and_takes_any_batch(classifier):
    loaded = load_exported(classifier)
    assert (loaded.class_names, input_shape(loaded)) == (["dark", "light"], (1, 2, 2))
    images = torch.tensor([0, 200, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    expected = torch.tensor([[255.0, 0.0], [55.0, 200.0], [0.0, 255.0]])
    torch.testing.assert_close(loaded(images.contiguous()), expected)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({}, "not an ONNX file that raytune_ocr.export wrote"),
        ({"kind": "classifier", "class_names": "{"}, "must be a list of names"),
        ({"kind": "classifier", "class_names": "[1]"}, "must be a list of names"),
    ],
)
def test_an_onnx_file_of_something_else_is_refused(classifier, tmp_path, about, message):
    import onnx

    path = tmp_path / "model.onnx"
    proto = onnx.load(str(classifier))
    del proto.metadata_props[:]
    for key, value in about.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(proto, str(path))
    with pytest.raises(CheckpointError, match=message):
        load_exported(path)


def test_a_damaged_or_missing_onnx_file_is_reported(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(CheckpointError, match="no such ONNX file"):
        load_exported(path)
    path.write_text(json.dumps({}))
    with pytest.raises(CheckpointError, match="not a complete ONNX file"):
        load_exported(path)


def test_a_package_that_is_not_installed_is_reported_with_how_to_get_it():
    with pytest.raises(ConfigurationError, match=r"pip install \"raytune-ocr\[export\]\""):
        needed("a_package_that_nobody_has")
