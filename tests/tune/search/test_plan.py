import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.search.plan import number_of
from raytune_ocr.tune.search.warm_start import Known, KnownPoints
from tests.fixtures.simulated import plan_of

SEARCH = {
    "num_samples": 12,
    "training": {
        "learning_rate": {"loguniform": [1e-5, 1e-1]},
        "batch_size": {"quniform": [16, 64, 16]},
    },
    "scheduler": {"min_lr": 0.0},
}
BOTH = {"preset": {}, "found": SEARCH}


def names(trials):
    return [trial.name for trial in trials]


def suggested(plan, count, trials=()):
    """All trials after so many suggestions, by name."""
    trials = {trial.name: trial for trial in trials}
    for _ in range(count):
        if (trial := plan.suggest(trials)) is not None:
            trials[trial.name] = trial
    return trials


def test_a_random_search_knows_all_its_trials_at_once():
    plan = plan_of(BOTH)
    assert names(plan.initial()) == ["preset", *(f"found_{n:04d}" for n in range(1, 13))]
    assert not plan.adaptive and plan.suggest({}) is None and plan.size == 13


def test_an_adaptive_search_knows_its_presets_and_suggests_the_rest():
    plan = plan_of(BOTH, "optuna")
    assert plan.adaptive and names(plan.initial()) == ["preset"]
    trials = suggested(plan, 99, plan.initial())
    assert list(trials) == ["preset", *(f"found_{n:04d}" for n in range(1, 13))]
    assert {trial.search for trial in trials.values()} == {"", "found"}


def test_searches_are_suggested_one_after_the_other():
    plan = plan_of({"one": {**SEARCH, "num_samples": 2}, "two": SEARCH}, "optuna")
    assert list(suggested(plan, 3)) == ["one_0001", "one_0002", "two_0001"]


def test_a_cap_takes_the_first_trials_and_keeps_those_that_had_begun():
    first = names(plan_of(BOTH, max_trials=3).initial())
    assert first == ["preset", "found_0001", "found_0002"]
    begun = {*first, "found_0009"}
    more = names(plan_of(BOTH, max_trials=5).initial(begun))
    assert more == [*first, "found_0003", "found_0009"]
    fewer = names(plan_of(BOTH, max_trials=1).initial(begun))
    assert fewer == [*first, "found_0009"]


def test_an_adaptive_search_stops_at_the_cap():
    plan = plan_of(BOTH, "optuna", max_trials=4)
    assert len(suggested(plan, 99, plan.initial())) == 4


def test_no_trial_gets_the_name_of_one_that_is_there():
    plan = plan_of(BOTH, "optuna")
    trials = suggested(plan, 4, plan.initial())
    del trials["found_0002"]  # the target was reached before it had an epoch
    trial = plan_of(BOTH, "optuna").suggest(trials)
    assert trial.name == "found_0005"
    assert trial.sampled not in [other.sampled for other in trials.values()]


def test_trials_that_were_suggested_earlier_are_restored_and_no_others():
    plan = plan_of(BOTH, "optuna")
    trials = suggested(plan, 3, plan.initial())
    begun = {trial.name: (trial.search, trial.sampled) for trial in trials.values()}
    begun["gone_0001"] = ("gone", {})  # of an experiment that is left out
    again = plan_of(BOTH, "optuna").restored(begun)
    assert names(again) == ["found_0001", "found_0002", "found_0003"]
    assert [trial.settings for trial in again] == [trials[t.name].settings for t in again]
    assert plan_of(BOTH).restored(begun) == []  # they are all in `initial`


def test_known_points_are_neither_drawn_nor_suggested_again():
    small = {"found": {"num_samples": 9, "training": {"batch_size": {"choice": [8, 16, 32]}}}}
    known = KnownPoints([Known("old.json", {"batch_size": 16}, 0.5)])
    for search in ("random", "optuna"):
        plan = plan_of(small, search, known=known)
        trials = suggested(plan, 9, plan.initial()).values()
        assert {trial.sampled["batch_size"] for trial in trials} == {8, 32}


def test_examples_have_every_trial_that_may_come():
    assert names(plan_of(BOTH, "optuna").examples()) == names(plan_of(BOTH).initial())


def test_searching_the_data_adaptively_is_refused():
    content = {"found": {"data": {"metadata_path": {"choice": ["a", "b"]}}}}
    with pytest.raises(ConfigurationError, match=r"data\.metadata_path: cannot be searched with"):
        plan_of(content, "optuna")
    assert len(plan_of(content).initial()) == 2


def test_the_searcher_of_a_trial_observes_it():
    plan, seen = plan_of(BOTH), []
    plan.searchers["found"].observe = seen.append
    for trial in plan.initial()[:2]:
        plan.observe(trial)
    assert [trial.name for trial in seen] == ["found_0001"]


def test_the_number_of_a_trial_is_the_end_of_its_name():
    assert [number_of(name) for name in ("found_0012", "preset", "a_b")] == [12, 0, 0]
