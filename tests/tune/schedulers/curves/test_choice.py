"""Which trial trains next, given the curves so far."""

import math

import numpy as np
import pytest

from raytune_ocr.results.decision import START, Decision
from raytune_ocr.tune.schedulers.curves.choice import (
    FIRST_STARTS,
    HEDGE_AFTER,
    CurveChoice,
    Progress,
    milestones_up_to,
)
from raytune_ocr.tune.schedulers.curves.unit_cube import UnitCube
from raytune_ocr.tune.space.domains import Domain
from tests.fixtures.simulated import simulated

EPOCHS = 10
CUBE = UnitCube({"found": {"lr": Domain("uniform", (0.0, 1.0))}})


def trial(number, curve=(), **settings):
    lr = (number % 20) / 20
    name = f"found_{number:04d}"
    return simulated(name, EPOCHS, curve, search="found", sampled={"lr": lr}, **settings)


def begun(*trials, arm="model", budget=math.inf):
    """What was decided for trials that have come to where they were chosen to train to."""
    progress = Progress(EPOCHS, budget)
    for one in trials:
        state = {"until": max(len(one.curve), 1), "arm": arm}
        progress.apply(Decision("freeze-thaw", one.name, 0, START, state))
    return progress


def choose(progress, trials, seed=0):
    choice = CurveChoice(progress, CUBE, {t.name: t for t in trials}, np.random.default_rng(seed))
    fresh = [t for t in trials if t.name not in progress.until]
    paused = [t for t in trials if t.name in progress.until and not t.is_finished]
    return choice.choose(fresh, [t for t in paused if not progress.is_under_way(t)])


def good_and_bad(count):
    """Trials with a first epoch that is the better, the larger the learning rate."""
    return [trial(n, [0.02 * (n % 20)]) for n in range(count)]


def test_milestones_grow_by_half():
    assert milestones_up_to(20) == [1, 2, 3, 4, 6, 9, 14, 20]
    assert milestones_up_to(1) == [1]


def test_the_first_trials_begin_at_random_for_an_epoch():
    trials = good_and_bad(FIRST_STARTS - 1) + [trial(n) for n in range(10, 20)]
    chosen = choose(begun(*trials[: FIRST_STARTS - 1]), trials)
    assert (chosen.arm, chosen.until) == ("random", 1)
    assert not chosen.trial.curve


def test_the_same_curves_and_numbers_give_the_same_choice():
    trials = good_and_bad(12) + [trial(n) for n in range(12, 40)]
    assert choose(begun(*trials[:12]), trials, seed=3) == choose(
        begun(*trials[:12]), trials, seed=3
    )


def test_the_model_prefers_what_looks_better_to_what_looks_worse():
    trials = [*good_and_bad(20)]
    progress = begun(*trials, arm="random")  # so that the other arms are behind
    picked = [choose(progress, trials, seed) for seed in range(10)]
    assert {choice.arm for choice in picked} == {"model"}
    assert np.mean([choice.trial.sampled["lr"] for choice in picked]) > 0.7


def test_a_diverged_or_failed_trial_counts_as_the_worst():
    trials = good_and_bad(12)
    trials[11].curve[2] = math.nan
    trials[10].status = "failed"
    for seed in range(5):
        assert choose(begun(*trials, arm="random"), trials, seed).trial is not trials[10]


def test_halving_promotes_the_best_of_a_rung():
    trials = good_and_bad(12)
    progress = begun(*trials, arm="model")
    progress.spent["complete"] += 6
    chosen = choose(progress, trials)
    assert (chosen.arm, chosen.until, chosen.trial.name) == ("halving", 3, "found_0011")


def test_the_first_trial_trains_to_its_end_whatever_the_model_believes():
    trials = good_and_bad(int(HEDGE_AFTER * EPOCHS))
    chosen = choose(begun(*trials), trials)
    assert (chosen.arm, chosen.until, chosen.trial.name) == ("complete", EPOCHS, "found_0000")


def test_the_best_trial_gets_the_rest_of_the_budget():
    trials = good_and_bad(12)
    chosen = choose(begun(*trials, budget=21), trials)
    assert (chosen.arm, chosen.until, chosen.trial.name) == ("complete", EPOCHS, "found_0011")


def test_a_choice_of_hundreds_of_trials_takes_bounded_points():
    trials = [trial(n, [0.01 * (n % 30)] * (1 + n % 4)) for n in range(300)]
    trials[0].status = "stopped"
    fresh = [trial(n) for n in range(300, 900)]
    progress = begun(*trials, arm="random")
    choice = CurveChoice(
        progress, CUBE, {t.name: t for t in [*trials, *fresh]}, np.random.default_rng(0)
    )
    assert choice.choose(fresh, trials[1:]).trial in [*trials[1:], *fresh]
    assert choice.fitted["fitted_on"] > 400 and len(choice.fitted["theta"]) == 7


def test_an_old_fit_of_other_settings_is_not_used():
    trials = good_and_bad(12)
    progress = begun(*trials, arm="random")
    progress.theta, progress.fitted_on = np.zeros(3), 10_000
    choice = CurveChoice(progress, CUBE, {t.name: t for t in trials}, np.random.default_rng(0))
    choice.choose([], trials)
    assert len(choice.fitted["theta"]) == pytest.approx(7)


def test_no_trial_runs_ahead_of_the_number_of_trials_that_have_begun():
    paused = [trial(n, [0.1, 0.2, 0.3, 0.4]) for n in range(8)]  # the next milestone is 6 > 8 / 2
    progress = begun(*paused, arm="random")
    new = [trial(n) for n in range(8, 20)]
    assert choose(progress, [*paused, *new]).trial in new
    alone = choose(progress, paused)
    assert (alone.arm, alone.until) == ("model", 6)
