"""Tests of models by name and of their settings."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from raytune_ocr.config.training_config import DEFAULT_MODEL_CONFIG_PATH
from raytune_ocr.errors import ConfigurationNotFoundError, ModelCreationError
from raytune_ocr.models import (
    CTCReader,
    ModelRegistry,
    create_model,
    parameter_count,
)


@pytest.fixture(autouse=True)
def forget_registered_models() -> Iterator[None]:
    before = dict(ModelRegistry._factories)
    yield
    ModelRegistry._factories.clear()
    ModelRegistry._factories.update(before)


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    return tmp_path / "models.yaml"


def test_the_presets_are_there_in_order_of_size() -> None:
    presets = ["small", "medium", "large", "ctc_small", "ctc_medium"]
    assert ModelRegistry.names() == [*presets, "image_classifier"]
    sizes = [parameter_count(create_model(name)) for name in ("small", "medium", "large")]
    assert sizes == sorted(sizes)
    assert parameter_count(create_model("ctc_small")) < parameter_count(create_model("ctc_medium"))


def test_ctc_is_an_alias_of_ctc_small() -> None:
    alias, model = create_model("ctc"), create_model("ctc_small")
    assert isinstance(alias, CTCReader)
    assert alias.config == model.config
    assert ModelRegistry.create("ctc").config == model.config


@pytest.mark.parametrize("build", [create_model, ModelRegistry.create])
def test_an_unknown_name_suggests_the_nearest(build: object) -> None:
    with pytest.raises(ModelCreationError, match=r"'smal' .*did you mean 'small'\?"):
        build("smal")  # type: ignore[operator]


def test_overrides_change_the_architecture_and_stand_in_its_config() -> None:
    model = create_model("small", temporal_width=48, channels=[16, 32], dropout=0.2)
    assert model.config["temporal_width"] == 48
    assert model.config["channels"] == [16, 32]
    assert parameter_count(model) < parameter_count(create_model("small"))
    assert model(torch.zeros(1, 1, 64, 128)).shape == (1, 9, 13)


def test_config_rebuilds_the_same_model() -> None:
    model = create_model("medium", temporal_width=64)
    settings = {key: value for key, value in model.config.items() if key != "kind"}
    again = create_model("medium", **settings)
    again.load_state_dict(model.state_dict())
    assert again.config == model.config


def test_all_wrong_overrides_are_reported_at_once() -> None:
    with pytest.raises(ModelCreationError) as caught:
        create_model("small", temporal_widht=48, dropout=1.5, channels=[])
    message = str(caught.value)
    assert "did you mean 'temporal_width'?" in message
    assert "dropout: must be a number >= 0 and < 1, got 1.5" in message
    assert "channels: must be a list of 2 to 6 integers >= 1, got ()" in message


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"vocab_size": 10}, "vocab_size: must be >= 13"),
        ({"max_sequence_length": 8}, "max_sequence_length: must be >= 9"),
    ],
)
def test_sizes_too_small_for_the_digits_are_refused(arguments: dict[str, int], rule: str) -> None:
    with pytest.raises(ModelCreationError, match=rule):
        create_model("small", **arguments)  # type: ignore[arg-type]


def test_larger_vocabularies_and_lengths_widen_the_output() -> None:
    images = torch.zeros(1, 1, 64, 128)
    assert create_model("small", 20, 12)(images).shape == (1, 12, 20)
    assert create_model("ctc", 20)(images).shape == (1, 32, 20)


def test_the_default_settings_file_may_be_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = create_model("small", config_path=DEFAULT_MODEL_CONFIG_PATH)
    assert model.config == create_model("small").config


def test_any_other_absent_settings_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationNotFoundError, match=r"other\.yaml"):
        create_model("small", config_path=tmp_path / "other.yaml")


def test_a_settings_file_speaks_to_all_models_or_to_one(settings_file: Path) -> None:
    settings_file.write_text("dropout: 0.3\nsmall: {temporal_width: 40}\nctc: {dropout: 0.1}\n")
    small = create_model("small", config_path=settings_file).config
    assert (small["dropout"], small["temporal_width"]) == (0.3, 40)
    assert create_model("ctc_small", config_path=settings_file).config["dropout"] == 0.1
    assert create_model("medium", config_path=settings_file).config["dropout"] == 0.3


def test_keywords_win_over_the_settings_file(settings_file: Path) -> None:
    settings_file.write_text("dropout: 0.3\n")
    assert create_model("small", config_path=settings_file, dropout=0.0).config["dropout"] == 0.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depht: 3\nwidht: 4\n", "(?s)'depht'.*'widht'"),
        ("small: {hiden: 3}\n", "small: .*did you mean 'hidden'"),
        ("medium: {hidden: 0}\n", "medium: hidden: must be an integer >= 1, got 0"),
        ("small: 3\n", "small: must be a mapping, got 3"),
    ],
)
def test_a_settings_file_is_checked_whole(settings_file: Path, text: str, message: str) -> None:
    settings_file.write_text(text)
    with pytest.raises(ModelCreationError, match=message) as caught:
        create_model("small", config_path=settings_file)
    assert str(settings_file) in str(caught.value)


def test_a_registered_model_gets_every_keyword() -> None:
    @ModelRegistry.register("mynet")
    class MyNet(nn.Module):
        def __init__(self, num_classes: int) -> None:
            super().__init__()
            self.linear = nn.Linear(4, num_classes)

    model = ModelRegistry.create("mynet", num_classes=10)
    assert isinstance(model, MyNet)
    assert model.linear.out_features == 10
    assert "mynet" in ModelRegistry.names()


def test_a_registered_model_gets_only_the_arguments_that_it_names() -> None:
    @ModelRegistry.register("mine")
    def build(vocab_size: int, depth: int = 1) -> nn.Module:
        return nn.Linear(depth, vocab_size)

    assert create_model("mine", vocab_size=13, depth=5).weight.shape == (13, 5)


def test_keywords_that_a_model_does_not_take_are_an_error() -> None:
    ModelRegistry.register("mine")(nn.Identity)
    ModelRegistry.register("other")(nn.Flatten)
    with pytest.raises(ModelCreationError, match=r"'other': got an unexpected keyword.*classes"):
        ModelRegistry.create("other", classes=3)


def test_a_name_cannot_be_registered_twice() -> None:
    ModelRegistry.register("mine")(nn.Identity)
    for name in ("mine", "small", "ctc"):
        with pytest.raises(ModelCreationError, match="registered already"):
            ModelRegistry.register(name)(nn.Flatten)


def test_registering_the_same_class_again_is_no_error() -> None:
    ModelRegistry.register("mine")(nn.Identity)
    ModelRegistry.register("mine")(nn.Identity)
    assert ModelRegistry.names().count("mine") == 1
