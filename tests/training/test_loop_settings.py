"""What the loop reads of a config, and that nothing in it is ignored without a word."""

from types import SimpleNamespace

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training.loop_settings import LoopSettings

GIVEN = {"weight_decay": 0.3, "max_grad_norm": 0.5, "scheduler_step_per_batch": True}


class Nested:
    class training:
        weight_decay, max_grad_norm, scheduler_step_per_batch = 0.3, 0.5, True


@pytest.mark.parametrize(
    "config",
    [
        {"training": GIVEN},
        {"training": SimpleNamespace(**GIVEN)},
        SimpleNamespace(training=GIVEN, model={"name": "net"}),
        Nested,
        {"training": {**GIVEN, "ema_decay": None, "batch_size": 32, "num_epochs": 3}},
    ],
)
def test_settings_are_attributes_or_keys_of_training(config):
    assert LoopSettings.of(config) == LoopSettings(**GIVEN)


def test_without_a_config_the_defaults_hold():
    assert LoopSettings.of(None) == LoopSettings.of({}) == LoopSettings.of({"model": {}})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"weight_decay": 0.1}, r"config\.weight_decay: must be under training"),
        ({"training.max_grad_norm": 1.0}, r"training\.max_grad_norm: must be under training"),
        (SimpleNamespace(max_grad_norm=1.0), r"config\.max_grad_norm: must be under training"),
        (TrainingConfig(), "must be under training"),
        ({"gradient_clip_norm": 1.0}, r"must be under training, as in {'training': {'max_grad_n"),
        ("fast", r"config: must be a mapping, or an object with attributes, got 'fast'"),
        ({"training": [1]}, r"config\.training: must be a mapping, or an object .*, got \[1\]"),
        ({"max_grad_nrom": 1.0}, r"must be under training, as in {'training': {'max_grad_norm'"),
        ({"trainng": {"weight_decay": 0.1}}, "did you mean 'training'"),
        ({"training": {"max_grad_nrom": 1.0}}, "did you mean 'max_grad_norm'"),
        ({"training": {"gradient_clip_norm": 1.0}}, "unknown setting 'gradient_clip_norm'"),
        ({"training": SimpleNamespace(weight_decy=1.0)}, "did you mean 'weight_decay'"),
        ({"training": {"max_grad_norm": -1}}, r"config\.training\.max_grad_norm: must be a number"),
        ({"training": {"gradient_accumulation_steps": 0}}, "must be an integer >= 1, got 0"),
        ({"training": {"scheduler_step_per_batch": "yes"}}, "must be true or false, got 'yes'"),
    ],
)
def test_flat_settings_dotted_keys_and_typos_are_errors(config, message):
    with pytest.raises(ConfigurationError, match=message):
        LoopSettings.of(config)


def test_a_training_config_gives_all_but_the_weight_decay_of_its_optimizer():
    config = TrainingConfig(gradient_clip_norm=0.7, gradient_accumulation_steps=3, ema_decay=0.9)
    expected = LoopSettings(max_grad_norm=0.7, gradient_accumulation_steps=3, ema_decay=0.9)
    assert LoopSettings.of_training(config) == expected
