import re
from pathlib import Path

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune import HyperparameterTuner
from raytune_ocr.tune.cli.parser import SEARCH_TEXT, build_parser
from raytune_ocr.tune.options import (
    TUNING,
    chosen_options,
    not_followed,
    read_tuning,
)


def test_a_tuning_section_is_checked_whole():
    options, problems = read_tuning({"search": "optuna", "time_budget": "2h"}, "here")
    assert (options, problems) == ({"search": "optuna", "time_budget": 7200}, [])
    _, problems = read_tuning(
        {"search": "bayes", "grace_period": 0, "max_trials": 1.5, "target": "x", "sched": 1}, "here"
    )
    assert [problem.split(":")[0] for problem in problems] == [
        *("here.search", "here.grace_period", "here.max_trials", "here.target", "here.sched"),
    ]
    assert "here.search: must be one of random, optuna, got 'bayes'" in problems


def test_the_caller_wins_over_the_file_and_the_file_over_the_defaults(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(
        "tuning: {grace_period: 2, reduction_factor: 4, num_samples: 3}\n"
        "experiments: {a: {training: {learning_rate: {uniform: [0.1, 0.2]}}}}\n"
    )
    tuner = HyperparameterTuner(str(path), reduction_factor=7, scheduler=None)
    options = tuner.options
    assert (options.grace_period, options.reduction_factor, options.scheduler) == (2, 7, "asha")
    assert len(tuner.space().configs) == 3
    assert len(HyperparameterTuner(str(path), num_samples=5).space().configs) == 5


def test_wrong_options_of_a_caller_are_told_together():
    with pytest.raises(ConfigurationError) as caught:
        chosen_options({"grace_period": 0, "time_budget": "soon", "data": None})
    assert "--grace-period: must be an integer >= 1, got 0" in str(caught.value)
    assert "--time-budget: must be seconds" in str(caught.value)


@pytest.mark.parametrize("scheduler", ["halving", "pbt"])
def test_a_scheduler_that_needs_all_trials_refuses_a_search_that_suggests_them(scheduler):
    with pytest.raises(ConfigurationError, match=f"{scheduler} must go with --search random"):
        chosen_options({"scheduler": scheduler, "search": "optuna"})


def test_a_run_keeps_a_scheduler_that_pauses_trials():
    for one, other in (("halving", "asha"), ("pbt", "asha"), ("asha", "pbt")):
        with pytest.raises(ConfigurationError, match=f"must stay {other}, with which"):
            chosen_options({"scheduler": one}, {}, {"scheduler": other})
    assert chosen_options({}, {"scheduler": "asha"}, {"scheduler": "pbt"}).scheduler == "pbt"
    assert chosen_options({"scheduler": "median"}, {}, {"scheduler": "asha"}).scheduler == "median"


def test_a_resumed_run_goes_on_with_its_own_search_unless_it_is_told_another():
    earlier = {"search": "optuna", "num_samples": 9, "grace_period": 2, "warm_start": ["a.json"]}
    options = chosen_options({"search": None, "warm_start": ()}, {"grace_period": 4}, earlier)
    assert (options.search, options.num_samples, options.grace_period) == ("optuna", 9, 2)
    assert options.warm_start == [str(Path("a.json").absolute())]
    nothing = {"confirm": 0, "num_samples": None, "warm_start": []}  # nothing confirmed, nor known
    options = chosen_options({}, {"confirm": 3}, nothing)
    assert (options.confirm, options.num_samples, options.warm_start) == (0, None, [])
    options = chosen_options({"num_samples": 12, "max_trials": 3}, {}, earlier)
    assert (options.num_samples, options.max_trials) == (12, 3)


def test_the_help_names_the_options_that_cannot_stand_in_the_file():
    """Of those of the groups that it says can."""
    groups = {group.title: group for group in build_parser()._action_groups}
    actions = [
        action for title in ("search", "how to run") for action in groups[title]._group_actions
    ]
    others = {action.option_strings[0] for action in actions if action.dest not in TUNING}
    assert others == set(re.findall(r"--[a-z-]+", SEARCH_TEXT))


def test_options_of_an_edited_file_that_a_resume_does_not_follow_are_told():
    earlier = {"scheduler": "asha", "grace_period": 1, "reduction_factor": 2}
    tuning = {"scheduler": "none", "grace_period": 2, "reduction_factor": 2, "max_failures": 3}
    lines = not_followed({"grace_period": 4}, tuning, earlier)
    assert lines == [
        "--resume: tuning.scheduler: none in the file is not followed: the run goes on with asha "
        "as it began; --scheduler none changes it"
    ]
    (line,) = not_followed({}, {"scheduler": "halving"}, earlier)
    assert "another --output-dir takes it" in line
    assert not not_followed({}, tuning, {})


def test_a_resumed_run_keeps_the_scheduler_that_auto_picked_for_it():
    earlier = {"scheduler": "halving", "grace_period": 20}
    resumed = chosen_options({"scheduler": "auto"}, {}, earlier)
    assert (resumed.scheduler, resumed.grace_period) == ("halving", 20)
    assert not_followed({}, {"scheduler": "auto"}, earlier) == []
    assert chosen_options({"scheduler": "auto"}).scheduler == "auto"
