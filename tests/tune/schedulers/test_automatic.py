"""Which scheduler `auto` picks."""

from dataclasses import replace

import pytest

from raytune_ocr.tune.registries import SCHEDULERS
from raytune_ocr.tune.schedulers.automatic import pick
from raytune_ocr.tune.schedulers.base import Setup


@pytest.mark.parametrize(
    ("samples", "presets", "epochs", "scheduler", "rungs"),
    [
        (0, 2, 40, "none", []),  # nothing to compare
        (0, 8, 3, "none", []),  # nothing to pause at
        (0, 3, 40, "halving", [20]),
        (5, 0, 15, "halving", [8]),
        (0, 50, 40, "halving", [10, 30]),
        (50, 0, 40, "freeze-thaw", [1, 2, 3, 4, 6, 9, 14, 21, 32]),
        (20, 3, 10, "freeze-thaw", [1, 2, 3, 4, 6, 9]),
    ],
)
def test_the_size_of_a_search_picks_its_scheduler(samples, presets, epochs, scheduler, rungs):
    picked = pick(samples, presets, epochs)
    assert picked.scheduler == scheduler
    setup = Setup(max_epochs=epochs, num_trials=samples + presets)
    with_grace = replace(setup, grace_period=picked.grace_period)
    assert SCHEDULERS[scheduler](with_grace).rungs == rungs


def test_trials_that_are_drawn_one_after_the_other_do_not_wait_for_each_other():
    assert pick(50, 0, 40, adaptive=True).scheduler == "asha"


def test_the_reason_names_the_trials_and_the_epochs():
    assert (
        pick(0, 3, 40).why
        == "3 trials of at most 40 epochs: the best third of them continues after 20"
    )
    assert pick(0, 1, 40).why.startswith("1 trial of at most 40 epochs")
