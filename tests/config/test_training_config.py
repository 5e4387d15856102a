import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_ocr.config.settings import RULES
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError


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


def test_all_problems_are_reported_at_once_with_file_rule_and_value(tmp_path):
    path = written(tmp_path, "batch_size: 0\nlearning_rat: 1\nnum_epochs: true\n")
    with pytest.raises(ConfigurationError) as caught:
        TrainingConfig.from_yaml(path)
    message = str(caught.value)
    assert f"{path}: batch_size: must be an integer >= 1, got 0" in message
    assert "did you mean 'learning_rate'" in message
    assert "num_epochs: must be an integer >= 1, got True" in message


@pytest.mark.parametrize(
    ("values", "message"),
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
def test_a_broken_rule_is_refused(values, message):
    with pytest.raises(ConfigurationError, match=message):
        TrainingConfig.from_dict(values)


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


def test_a_loss_is_followed_downwards_and_never_upwards():
    rows = [{"epoch": epoch, "val_loss": loss} for epoch, loss in enumerate((0.9, 0.2, 0.5), 1)]
    config = TrainingConfig(early_stopping_monitor="val_loss")
    assert config.early_stopping_mode == "min" and config.best_of(rows)["epoch"] == 2
    assert TrainingConfig.from_dict(config.to_dict()) == config
    assert TrainingConfig().early_stopping_mode == "max"
    with pytest.raises(
        ConfigurationError, match="must be min for val_loss, because lower is better"
    ):
        dataclasses.replace(config, early_stopping_mode="max")
    with pytest.raises(ConfigurationError, match="must be max for val_char_accuracy"):
        TrainingConfig(early_stopping_mode="min")
    with pytest.raises(ConfigurationError, match="early_stopping_mode: must be one of max, min"):
        TrainingConfig.from_dict({"early_stopping_mode": ""})


def test_variables_of_the_environment_take_the_place_of_defaults(monkeypatch):
    monkeypatch.setenv("RAYTUNE_OCR_BATCH_SIZE", "7")
    monkeypatch.setenv("RAYTUNE_OCR_MODEL_NAME", "small")
    config = TrainingConfig()
    assert (config.batch_size, config.model_name) == (7, "small")
    assert TrainingConfig(batch_size=9).batch_size == 9
    assert TrainingConfig("large").model_name == "large"
    assert dataclasses.replace(TrainingConfig(batch_size=9), seed=1).batch_size == 9
    assert TrainingConfig.from_dict({}, environment={}).batch_size == 32


def test_an_attribute_that_is_no_setting_is_refused():
    config = TrainingConfig()
    config.batchsize = 64
    with pytest.raises(ConfigurationError, match=r"unknown setting 'batchsize'.*mean 'batch_size'"):
        config.validate()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 1.5),
        ("batch_size", True),
        ("learning_rate", "0.1"),
        ("learning_rate", 10**400),
        ("use_tensorboard", 1),
        ("model_options", {"size": object()}),
        ("model_options", {1: 2}),
        ("imports", [1]),
        ("metadata_path", "a\ud800"),
        ("optimizer_betas", {"a": 1}),
    ],
)
def test_a_value_of_another_type_is_refused_and_never_saved(tmp_path, name, value):
    config = TrainingConfig()
    setattr(config, name, value)
    with pytest.raises(ConfigurationError, match=f"{name}: must be "):
        config.save_yaml(tmp_path / "config.yaml")
    assert not (tmp_path / "config.yaml").exists()


TEXTS = st.text(max_size=6) | st.sampled_from(["1e5", "010", "1:30", "0x1F", "yes", "~", "1_0"])


@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,9}", fullmatch=True),
    path=TEXTS,
    rate=st.floats(1e-6, 1e6),
    options=st.dictionaries(TEXTS, TEXTS | st.integers() | st.floats(allow_nan=False), max_size=3),
)
def test_whatever_is_saved_is_read_back_the_same(tmp_path_factory, name, path, rate, options):
    try:
        config = TrainingConfig(
            experiment_name=name, metadata_path=path, learning_rate=rate, model_options=options
        )
    except ConfigurationError:
        return
    file = tmp_path_factory.getbasetemp() / "round.yaml"
    config.save_yaml(file)
    assert TrainingConfig.from_yaml(file) == config


def test_a_monitor_of_no_known_direction_needs_a_mode():
    for make in (TrainingConfig, lambda **given: TrainingConfig.from_dict(given, environment={})):
        with pytest.raises(ConfigurationError, match="must be given for the metric 'quality'"):
            make(early_stopping_monitor="quality")
        made = make(early_stopping_monitor="quality", early_stopping_mode="min")
        assert made.early_stopping_mode == "min"


def test_a_path_may_be_one_of_pathlib(tmp_path):
    config = TrainingConfig(output_dir=tmp_path, metadata_path=tmp_path / "metadata.yaml")
    assert (config.output_dir, type(config.metadata_path)) == (str(tmp_path), str)
    config.save_yaml(tmp_path / "config.yaml")
    assert TrainingConfig.from_yaml(tmp_path / "config.yaml") == config
