"""What Ray gets: trials, the end of each, and the end of the run."""

import pickle
from types import SimpleNamespace

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from raytune_ocr.results.decision import CONTINUE, PAUSE, STOP
from raytune_ocr.tune.execution.ray_executor.ray_adapters import (
    BudgetStopper,
    NoReporter,
    RayScheduler,
    RaySearcher,
    placement,
)
from raytune_ocr.tune.tracking.ray_logger import PAUSED


def searcher(trials, max_concurrent=lambda: 100):
    trials = iter(trials)
    return RaySearcher(lambda: next(trials, None), lambda name: {"name": name}, max_concurrent)


def test_trials_are_given_as_room_grows():
    room = [1]
    search = searcher("abc", lambda: room[0])
    assert search.suggest("1") == {"name": "a"}
    assert search.suggest("2") is None
    room[0] = 2
    assert search.suggest("2") == {"name": "b"}
    assert search.suggest("3") is None
    search.on_trial_complete("1")
    assert search.suggest("3") == {"name": "c"}


def test_the_search_is_finished_once_none_trains_that_could_lead_to_more():
    search = searcher("a")
    search.suggest("1")
    assert search.suggest("2") is None
    search.on_trial_complete("1")
    assert search.suggest("2") == Searcher.FINISHED


@pytest.mark.parametrize(
    ("action", "message", "paused"),
    [
        (CONTINUE, TrialScheduler.CONTINUE, False),
        (PAUSE, TrialScheduler.STOP, True),
        (STOP, TrialScheduler.STOP, False),
    ],
)
def test_ray_ends_a_trial_that_pauses_or_stops_and_trackers_can_tell_them_apart(
    action, message, paused
):
    trial, reports = SimpleNamespace(config={}), []
    scheduler = RayScheduler(lambda trial, result: reports.append(result) or action)
    assert scheduler.on_trial_result(None, trial, {"epoch": 3}) == message
    assert trial.config == {PAUSED: paused} and reports == [{"epoch": 3}]


def test_the_last_result_that_ray_repeats_as_a_trial_ends_is_reported_once():
    scheduler = RayScheduler(pytest.fail)
    again = {"epoch": 3, "done": True}
    assert scheduler.on_trial_result(None, SimpleNamespace(), again) == TrialScheduler.CONTINUE


def test_what_a_trial_was_made_with_is_a_mapping_again_after_ray_has_flattened_it():
    seen = []
    scheduler = RayScheduler(lambda trial, result: seen.append(result) or CONTINUE)
    flat = {"epoch": 1, "made_with/torch": "2.9", "made_with/node": "one"}
    scheduler.on_trial_result(None, SimpleNamespace(config={}), flat)
    assert seen[0]["made_with"] == {"torch": "2.9", "node": "one"}
    scheduler.on_trial_result(None, SimpleNamespace(config={}), {"epoch": 2})
    assert "made_with" not in seen[1]


def test_a_spent_budget_ends_all_trials_and_none_alone():
    spent = []
    stopper = BudgetStopper(lambda: bool(spent))
    assert not stopper("a", {}) and not stopper.stop_all()
    spent.append(1)
    assert not stopper("a", {}) and stopper.stop_all()


def test_ray_can_pickle_what_it_was_given_without_what_is_behind_it():
    held = lambda *arguments: None  # noqa: E731
    for one in (RayScheduler(held), BudgetStopper(held)):
        assert pickle.loads(pickle.dumps(one)) is not one


def test_a_trial_asks_for_what_is_in_its_config():
    bundles = placement({"request": {"cpu": 2.0, "gpu": 0.5, "memory": 1e9}}).bundles
    assert bundles == [{"CPU": 2.0, "GPU": 0.5, "memory": 1e9}]


def test_rays_own_reporter_is_silent(capsys):
    reporter = NoReporter()
    assert not reporter.should_report([], done=True)
    reporter.report([], True)
    assert capsys.readouterr().out == ""
