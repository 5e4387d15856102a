"""The direction of a metric: known names and affixes, an explicit mode, an error without either."""

import math

import pytest

from raytune_ocr.config.metrics import known_mode, mode_of, reaches, score_of
from raytune_ocr.errors import ConfigurationError


@pytest.mark.parametrize(
    "name",
    [
        *("eval_mae", "mse", "val_rmse", "nll", "wer", "ppl", "edit_distance", "perplexity"),
        *("brier", "brier_score", "valLoss", "Loss/val", "eval/MAE", "logloss", "val_cer"),
        *("top1_error", "training_time_per_epoch", "negative_log_likelihood"),
    ],
)
def test_errors_and_costs_are_lower_is_better(name):
    assert mode_of(name) == "min"


@pytest.mark.parametrize(
    "name",
    [
        *("val_char_accuracy", "f1", "val_F1", "F1Score", "auc", "mIoU", "val_acc", "BLEU"),
        *("log_likelihood", "neg_mean_squared_error", "best_val_char_accuracy"),
    ],
)
def test_accuracies_and_scores_are_higher_is_better(name):
    assert mode_of(name) == "max"


@pytest.mark.parametrize("name", ["quality", "val_x", "", "neg"])
def test_a_name_without_a_direction_needs_a_mode(name):
    assert known_mode(name) == ""
    with pytest.raises(ConfigurationError, match="mode: must be given for the metric"):
        mode_of(name)
    assert mode_of(name, "min") == "min"


def test_a_mode_is_one_of_two():
    with pytest.raises(ConfigurationError, match="mode: must be one of max, min, got 'best'"):
        mode_of("loss", "best")


def test_a_score_is_higher_is_better_and_nan_reaches_nothing():
    assert score_of(0.3, "min") > score_of(0.4, "min")
    assert score_of(0.4, "max") > score_of(0.3, "max")
    assert reaches(0.1, 0.2, "min") and not reaches(0.1, 0.2, "max")
    assert not reaches(math.nan, 0.2, "min") and not reaches(math.nan, 0.2, "max")
