"""Trials that pause for each other: which trains next, and how many are a cohort."""

from raytune_ocr.results.decision import CONTINUE, STOP
from raytune_ocr.tune.execution.planning import record_of
from raytune_ocr.tune.schedulers.successive_halving import SuccessiveHalving
from raytune_ocr.tune.search.plan import Plan
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import read_space
from tests.fixtures.simulated import by_name, carry_out, next_name, restored, simulated, train


def halving():
    return restored(SuccessiveHalving, reduction_factor=3, max_epochs=9)


def seven(epoch=0):
    trials = by_name(*(simulated(f"t{number}", max_epochs=9) for number in range(7)))
    for place, trial in enumerate(trials.values()):
        train(trial, epoch, place / 10)
    return trials


def test_the_largest_models_are_first_so_that_none_waits_for_them():
    models = {"a": "ctc_small", "b": "large", "c": "ctc_small", "d": "ctc_medium"}
    space = read_space({"experiments": {n: {"model": {"name": m}} for n, m in models.items()}})
    trials = by_name(*Plan(space, "random", KnownPoints(), None, record_of).initial())
    scheduler, active = halving(), []
    for _ in models:
        active.append(next_name(scheduler, trials, active))
    assert active == ["d", "b", "a", "c"]
    assert next_name(scheduler, trials, active) is None


def test_the_cohort_is_the_same_all_the_way_to_a_rung():
    scheduler, trials = halving(), seven()
    assert scheduler.cohort(trials) == 7
    for place, trial in enumerate(trials.values()):
        train(trial, 2, place / 10)
    carry_out(scheduler, scheduler.decide(trials), trials)
    assert scheduler.cohort(trials) == 2
    train(trials["t6"], 4, 0.5)
    trials["t6"].status = "completed"  # early, while the other one is under way
    assert scheduler.cohort(trials) == 2
    trials["t5"].status = "failed"  # in its first epoch after the rung
    assert scheduler.cohort(trials) == 2


def test_a_trial_that_fails_in_its_very_first_epoch_counts_until_the_rung():
    scheduler, trials = halving(), seven()
    trials["t0"].status = "failed"
    assert scheduler.cohort(trials) == 7
    for place, name in enumerate(sorted(trials)[1:]):
        train(trials[name], 2, place / 10)
    decided = scheduler.decide(trials)
    carry_out(scheduler, decided, trials)
    assert sorted(decision.decision for decision in decided) == [CONTINUE] * 2 + [STOP] * 4
    assert scheduler.cohort(trials) == 2
