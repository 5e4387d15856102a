import math

import numpy as np
import pytest
import torch

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.aggregate import trials_table
from raytune_ocr.results.record import FIRST_COLUMNS, RUN_COLUMNS, TrialRecord
from raytune_ocr.tasks.values import RESERVED, checked_metrics, savable


@pytest.mark.parametrize(
    "value",
    [0.5, np.float32(0.5), np.array(0.5), np.array([0.5]), torch.tensor(0.5), torch.tensor([0.5])],
    ids=lambda value: type(value).__name__,
)
def test_a_metric_may_be_any_single_number(value):
    assert checked_metrics({"f1": value}) == {"f1": 0.5}
    assert type(checked_metrics({"f1": value})["f1"]) is float


def test_flags_integers_and_nan_are_numbers():
    checked = checked_metrics({"hit": True, "count": 3, "loss": math.nan})
    assert checked["hit"] == 1.0 and checked["count"] == 3.0 and math.isnan(checked["loss"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0.5", "f1 must be one number, got '0.5' \\(str\\)"),
        (np.ones(2), "ndarray"),
        (torch.ones(2), "Tensor"),
        (None, "NoneType"),
        ({"a": 1}, "dict"),
    ],
)
def test_what_is_no_number_names_the_metric_and_the_type(value, message):
    with pytest.raises(ConfigurationError, match=message):
        checked_metrics({"f1": value})


@pytest.mark.parametrize("name", ["epoch", "rank", "meets_f1", "parameters.lr", "", 3, "a\nb"])
def test_names_of_other_columns_are_no_metrics(name):
    with pytest.raises(ConfigurationError, match=r"context\.report: a metric must"):
        checked_metrics({name: 1.0})


def test_every_column_of_the_tables_that_is_no_metric_is_reserved():
    record = TrialRecord(TrainingConfig(trainable="m:f", early_stopping_monitor="val_loss"))
    columns = {*trials_table([record]).columns, *FIRST_COLUMNS, *RUN_COLUMNS} - {"learning_rate"}
    assert columns <= RESERVED


def test_a_state_is_copied_as_tensors_and_plain_values():
    weights = torch.ones(2)
    copied = savable({"w": weights, "n": np.int64(3), "a": np.zeros(2), "l": [1, (2.0, None)]})
    weights.zero_()
    assert copied["w"].tolist() == [1.0, 1.0]
    assert type(copied["n"]) is int and isinstance(copied["a"], torch.Tensor)
    assert copied["l"] == [1, (2.0, None)]


def test_what_cannot_be_saved_is_named_by_its_place():
    with pytest.raises(ConfigurationError, match=r"state\['model'\]\[1\] must .* got Linear"):
        savable({"model": [1, torch.nn.Linear(1, 1)]})
