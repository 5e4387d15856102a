import math

import pytest
from torch import nn

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.training import EarlyStopping
from raytune_ocr.training.callbacks.early_stopping import EarlyStoppingCallback


def epochs_until_stop(stopping, scores):
    for epoch, score in enumerate(scores):
        if stopping(score, epoch):
            return epoch + 1
    return None


def test_training_stops_after_the_patience():
    assert epochs_until_stop(EarlyStopping(2, mode="max"), [0.1, 0.5, 0.4, 0.5, 0.6]) == 4


def test_a_gain_below_min_delta_is_none():
    assert epochs_until_stop(EarlyStopping(2, min_delta=0.1), [1.0, 0.95, 0.92]) == 3


def test_patience_zero_never_stops():
    assert epochs_until_stop(EarlyStopping(0), [1.0] * 50) is None


def test_nan_is_never_best():
    stopping = EarlyStopping(5, mode="max")
    for epoch, score in enumerate([math.nan, 0.2, math.nan]):
        stopping(score, epoch)
    assert (stopping.best_score, stopping.best_epoch) == (0.2, 1)


def test_a_resumed_run_keeps_its_patience():
    first, second = EarlyStopping(3, mode="max"), EarlyStopping(3, mode="max")
    assert epochs_until_stop(first, [0.5, 0.4, 0.4]) is None
    second.load_state_dict(first.state_dict())
    assert second(0.4, 3)


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigurationError, match="one of max, min"):
        EarlyStopping(mode="best")


def test_it_has_its_history_until_it_is_reset():
    stopping = EarlyStopping(5, mode="max")
    epochs_until_stop(stopping, [0.1, 0.5, 0.4])
    assert stopping.history == [(0, 0.1), (1, 0.5), (2, 0.4)]
    resumed = EarlyStopping(5, mode="max")
    resumed.load_state_dict(stopping.state_dict())
    assert resumed.history == stopping.history
    stopping.reset()
    assert stopping.history == [] and resumed.best_epoch == 1


def test_a_state_of_an_earlier_version_has_no_history():
    stopping = EarlyStopping(3)
    stopping.load_state_dict(
        {"should_stop": False, "best_score": 0.5, "best_epoch": 4, "waited": 2}
    )
    assert (stopping.best_epoch, stopping.history) == (4, [])
    assert stopping(0.6, 7)


@pytest.mark.parametrize("restores", [True, False])
def test_a_model_that_is_shown_ends_with_the_best_weights_where_these_are_restored(restores):
    model = nn.Linear(1, 1, bias=False)
    stopping = EarlyStopping(2, mode="min", restore_best_weights=restores)
    for epoch, score in enumerate([0.5, 0.2, 0.3, 0.4]):
        nn.init.constant_(model.weight, epoch)
        stopped = stopping(score, epoch, model)
    assert stopped
    assert model.weight.item() == (1.0 if restores else 3.0)


def test_a_metric_of_an_unknown_direction_needs_a_mode():
    with pytest.raises(ConfigurationError, match="mode: must be given for the metric 'quality'"):
        EarlyStoppingCallback("quality", 3)
    assert EarlyStoppingCallback("quality", 3, mode="min").stopping.mode == "min"
