import dataclasses
import math

import pytest
import yaml

from raytune_ocr.config.environment import environment_overrides
from raytune_ocr.config.rules import RULES
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.config.yaml_files import load_yaml
from raytune_ocr.errors import (
    ConfigurationError,
    ConfigurationNotFoundError,
    ConfigurationSyntaxError,
)


def written(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_field_has_a_rule_and_every_default_keeps_it():
    assert {field.name for field in dataclasses.fields(TrainingConfig)} == set(RULES)
    TrainingConfig().validate()


def test_a_config_survives_yaml(tmp_path):
    config = TrainingConfig(model_name="ctc_small", loss_type="ctc", min_lr=1e-7)
    config.save_yaml(tmp_path / "deep" / "config.yaml")
    assert TrainingConfig.from_yaml(tmp_path / "deep" / "config.yaml") == config


def test_numbers_with_an_exponent_are_numbers(tmp_path):
    config = TrainingConfig.from_yaml(written(tmp_path, "min_lr: 1e-7\nlearning_rate: 2E-3\n"))
    assert (config.min_lr, config.learning_rate) == (1e-7, 2e-3)


def test_all_problems_are_told_at_once_with_file_rule_and_value(tmp_path):
    path = written(tmp_path, "batch_size: 0\nlearning_rat: 1\nnum_epochs: true\n")
    with pytest.raises(ConfigurationError) as caught:
        TrainingConfig.from_yaml(path)
    message = str(caught.value)
    assert f"{path}: batch_size: must be an integer >= 1, got 0" in message
    assert "did you mean 'learning_rate'" in message
    assert "num_epochs: must be an integer >= 1, got True" in message


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"learning_rate": "fast"}, "learning_rate: must be a number > 0, got 'fast'"),
        ({"learning_rate": float("nan")}, "got nan"),
        ({"label_smoothing": 1.0}, ">= 0 and < 1"),
        ({"optimizer_betas": [0.9]}, "two numbers"),
        ({"scheduler_type": "cosin"}, "one of steplr, cosine, plateau"),
        ({"experiment_name": "../up"}, "a name of letters"),
        ({"device": "gpu"}, "cuda:N"),
        ({"min_lr": 0.1}, "must not exceed learning_rate"),
        ({"changes": [{"after_epoch": 2}]}, "after_epoch: 5, learning_rate: 1e-4"),
        ({"changes": [{"after_epoch": 2, "batch_size": 8}]}, "one or more of learning_rate, weig"),
        ({"changes": [{"after_epoch": 0, "learning_rate": 0.1}]}, "after_epoch"),
        ({"changes": [{"after_epoch": 2, "learning_rate": -1}]}, "after_epoch"),
        ({"changes": [{"after_epoch": 2, "learning_rate": 0.1}] * 2}, "later ones after it"),
        ({"changes": [{"after_epoch": 2, "learning_rate": 1e-7}]}, "must not exceed learning_r"),
        ({"model_name": "ctc_small"}, "must be ctc for the model 'ctc_small'"),
        ({"model_name": "small", "loss_type": "ctc"}, "needs a CTC model"),
        ({"model_name": "small", "ctc_weight": 0}, "ctc_weight: must be > 0"),
    ],
)
def test_a_broken_rule_is_refused(values, told):
    with pytest.raises(ConfigurationError, match=told):
        TrainingConfig.from_dict(values)


def test_the_environment_overrides_a_field():
    variables = {"RAYTUNE_OCR_BATCH_SIZE": "7", "RAYTUNE_OCR_MODEL_NAME": "small"}
    config = TrainingConfig.from_dict({"batch_size": 64}, environment=variables)
    assert (config.batch_size, config.model_name) == (7, "small")


def test_a_wrong_variable_is_named():
    with pytest.raises(ConfigurationError, match="RAYTUNE_OCR_BATCH_SIZE: must be an integer"):
        TrainingConfig.from_dict({}, environment={"RAYTUNE_OCR_BATCH_SIZE": "many"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2\n", "stands twice"),
        ("a: [\n", '.yaml", line 2'),
        ("- 1\n", "must be a mapping"),
    ],
)
def test_a_file_that_is_no_config_is_a_syntax_error(tmp_path, text, told):
    with pytest.raises(ConfigurationSyntaxError, match=told) as caught:
        load_yaml(written(tmp_path, text))
    assert isinstance(caught.value, yaml.YAMLError)
    assert isinstance(caught.value, ValueError)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigurationNotFoundError, match="no such configuration file"):
        load_yaml(tmp_path / "absent.yaml")


def test_a_tuple_tag_is_a_list_and_other_python_tags_are_refused(tmp_path):
    assert load_yaml(written(tmp_path, "a: !!python/tuple [1, 2]\n")) == {"a": [1, 2]}
    with pytest.raises(ConfigurationSyntaxError):
        load_yaml(written(tmp_path, "a: !!python/object/apply:os.getcwd []\n"))


def test_a_merged_mapping_may_override_its_anchor(tmp_path):
    text = "base: &base {a: 1, b: 2}\nmine:\n  <<: *base\n  b: 3\n"
    assert load_yaml(written(tmp_path, text))["mine"] == {"a": 1, "b": 3}


def test_the_best_epoch_is_the_best_monitored_and_of_equals_the_one_with_the_lowest_loss():
    accuracies = [0.5, 0.9, math.nan, 0.9, 0.9, 0.8]
    losses = [0.4, 0.3, 0.1, 0.2, 0.2, 0.1]
    rows = [
        {"epoch": epoch, "val_char_accuracy": accuracy, "val_loss": loss}
        for epoch, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True), 1)
    ]
    config = TrainingConfig()
    assert config.best_of(rows)["epoch"] == 4
    assert config.best_of(rows[2:3]) == {}
    lowest = TrainingConfig(early_stopping_monitor="val_loss", early_stopping_mode="min")
    assert lowest.best_of(rows)["epoch"] == 3
    without_loss = [{"epoch": row["epoch"], "val_char_accuracy": 0.9} for row in rows]
    assert config.best_of(without_loss)["epoch"] == 1


def test_a_value_that_is_no_yaml_is_told(monkeypatch):
    monkeypatch.setenv("RAYTUNE_OCR_OPTIMIZER_BETAS", "[0.9, 0.99")
    with pytest.raises(
        ConfigurationSyntaxError, match=r"optimizer_betas: must be YAML.*\[0.9, 0.99"
    ):
        environment_overrides()


def test_a_loss_is_followed_downwards_unless_a_mode_is_given():
    rows = [{"epoch": epoch, "val_loss": loss} for epoch, loss in enumerate((0.9, 0.2, 0.5), 1)]
    config = TrainingConfig(early_stopping_monitor="val_loss")
    assert config.early_stopping_mode == "min" and config.best_of(rows)["epoch"] == 2
    assert TrainingConfig.from_dict(config.to_dict()) == config
    assert TrainingConfig().early_stopping_mode == "max"
    assert dataclasses.replace(config, early_stopping_mode="max").best_of(rows)["epoch"] == 1
    with pytest.raises(ConfigurationError, match="early_stopping_mode: must be one of max, min"):
        TrainingConfig.from_dict({"early_stopping_mode": ""})
