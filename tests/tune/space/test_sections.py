import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune import create_training_config
from tests.fixtures.spaces import problems_of, space


def test_the_optimizer_section_wins_over_training():
    config = create_training_config(
        {
            "training": {"batch_size": 64, "learning_rate": 0.002, "weight_decay": 0.1},
            "model": {"name": "medium"},
            "optimizer": {"type": "adamw", "learning_rate": 0.004, "betas": [0.8, 0.99]},
        }
    )
    assert (config.learning_rate, config.weight_decay) == (0.004, 0.1)
    assert (config.optimizer_type, config.optimizer_betas) == ("adamw", [0.8, 0.99])


def test_a_ctc_model_gets_the_ctc_loss_unless_another_is_asked_for():
    assert create_training_config({"model": {"name": "ctc"}}).loss_type == "ctc"
    bad = {"model": {"name": "ctc"}, "training": {"loss_type": "focal"}}
    output = problems_of(space(bad))
    assert (
        "experiments.fast.training.loss_type: must be ctc for the model 'ctc', got 'focal'"
        in output
    )


def test_an_unknown_monitor_is_reported_with_the_ones_there_are():
    output = problems_of(
        space({"early_stopping": {"monitor": "val_char_acc"}, "training": {"batch_size": 0}})
    )
    assert "experiments.fast.early_stopping.monitor: unknown metric 'val_char_acc'" in output
    assert "did you mean 'val_char_accuracy'" in output
    assert "batch_size: must be" in output


def test_a_loss_is_followed_downwards_and_never_upwards():
    follow = {"early_stopping": {"monitor": "val_loss"}}
    assert create_training_config(follow).early_stopping_mode == "min"
    assert create_training_config({}).early_stopping_mode == "max"
    follow["early_stopping"]["mode"] = "max"
    assert (
        "experiments.fast.early_stopping.mode: must be min for val_loss, because lower is better"
        in problems_of(space(follow))
    )


def test_a_config_of_sections_keeps_its_name():
    config = create_training_config({"experiment_name": "mine", "training": {"seed": 3}})
    assert (config.experiment_name, config.seed) == ("mine", 3)
    with pytest.raises(ConfigurationError, match=r"experiment\.experiment_name: must be a name"):
        create_training_config({"experiment_name": "../up"})
