import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training.experiments.resume import (
    FIXED_BY_STATE,
    create_config,
    forked_settings,
    resumed_settings,
)


def test_settings_that_are_given_win_over_the_experiments_and_these_over_the_defaults():
    config = create_config({"batch_size": 8}, {"batch_size": 16, "seed": 3, "parent": "exp1"})
    assert (config.batch_size, config.seed, config.early_stopping_patience) == (8, 3, 0)


def test_a_ctc_model_has_the_ctc_loss_and_another_dataset_its_own_metric():
    assert create_config({"model_name": "ctc_small"}, {}).loss_type == "ctc"
    monitor = {"early_stopping_monitor": "val_cer", "early_stopping_mode": "min"}
    before = {"dataset_name": "khmer_digits", **monitor}
    config = create_config({"dataset_name": "mnist"}, before)
    assert (config.early_stopping_monitor, config.early_stopping_mode) == ("val_accuracy", "max")


def test_a_metric_that_is_not_reported_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match=r"early_stopping_monitor: .* 'val_cer'\?"):
        create_config({"early_stopping_monitor": "val_cerr"}, {})


def test_what_may_change_becomes_a_change_at_the_epoch_of_the_resume():
    before = TrainingConfig(changes=[{"after_epoch": 2, "label_smoothing": 0.1}])
    given = {"learning_rate": 0.5, "label_smoothing": 0.1, "num_epochs": 9}
    assert resumed_settings(given, before, 4) == {
        "changes": [
            {"after_epoch": 2, "label_smoothing": 0.1},
            {"after_epoch": 4, "learning_rate": 0.5},
        ],
        "num_epochs": 9,
    }
    assert resumed_settings({"learning_rate": before.learning_rate}, before, 4) == {}
    assert resumed_settings(given, before, 0) == given


def test_a_second_change_at_one_epoch_adds_to_the_first():
    before = TrainingConfig(changes=[{"after_epoch": 4, "label_smoothing": 0.1}])
    assert resumed_settings({"learning_rate": 0.5}, before, 4)["changes"] == [
        {"after_epoch": 4, "label_smoothing": 0.1, "learning_rate": 0.5}
    ]


@pytest.mark.parametrize("name", FIXED_BY_STATE)
def test_what_the_state_depends_on_must_stay(name):
    before = TrainingConfig()
    with pytest.raises(ConfigurationError, match=rf"^{name}: must stay .*; use --fork"):
        resumed_settings({name: "another"}, before, 4)
    assert resumed_settings({name: getattr(before, name)}, before, 4) == {
        name: getattr(before, name)
    }


def test_a_fork_has_what_held_at_its_epoch_and_no_later_change():
    changes = [
        {"after_epoch": 2, "learning_rate": 0.5},
        {"after_epoch": 6, "learning_rate": 0.1},
    ]
    fork = forked_settings({"learning_rate": 1.0, "changes": changes, "seed": 3}, 4)
    assert (fork["learning_rate"], fork["changes"], fork["seed"]) == (0.5, [], 3)
    assert forked_settings({"seed": 3}, 4) == {"seed": 3}
