"""A trial's turn ends where its node is about to be taken away: saved, and not as a failure."""

import math
import time

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import load_splits
from raytune_ocr.errors import NodeDrainedError
from raytune_ocr.tune.execution.ray_executor.node_drain import SPARE_SECONDS, DrainNotice
from raytune_ocr.tune.execution.ray_executor.trainable import run_trial


@pytest.fixture
def train(data, tmp_path):
    """Trains for up to three epochs with a deadline; returns the rows and whether a turn ended."""
    config = TrainingConfig(
        model_name="ctc_small",
        loss_type="ctc",
        num_epochs=3,
        batch_size=16,
        output_dir=str(tmp_path),
        experiment_name="t",
        use_tensorboard=False,
    )

    def run(deadline):
        rows = []
        notice = DrainNotice(lambda: deadline(rows))
        try:
            run_trial(
                config,
                load_splits(data),
                lambda row, folder: rows.append((row["epoch"], bool(folder))),
                callbacks=[notice],
            )
        except NodeDrainedError:
            return rows, True
        return rows, False

    return run


def test_without_a_notice_a_trial_trains_to_its_end(train):
    assert train(lambda rows: None) == ([(1, True), (2, True), (3, True)], False)


@pytest.mark.parametrize("left", [600.0, math.inf])
def test_the_epoch_under_way_is_done_and_saved_before_the_turn_ends(train, left):
    assert train(lambda rows: time.time() + left if rows else None) == ([(1, True)], True)


def test_an_epoch_that_would_be_lost_anyway_is_not_waited_for(train):
    looks = iter([None])  # as the epoch begins

    def deadline(rows):
        return next(looks, time.time() + SPARE_SECONDS / 2)

    assert train(deadline) == ([], True)


def test_a_drained_trial_leaves_no_error_log(train, tmp_path):
    train(lambda rows: math.inf)
    assert not (tmp_path / "t" / "logs" / "error.log").exists()
