import re

from raytune_ocr.tune import HyperparameterTuner
from raytune_ocr.tune.cli.parser import SEARCH_TEXT, build_parser
from raytune_ocr.tune.options import TUNING, read_tuning


def test_a_tuning_section_is_checked_whole():
    options, problems = read_tuning({"search": "optuna", "time_budget": "2h"}, "here")
    assert (options, problems) == ({"search": "optuna", "time_budget": 7200}, [])
    _, problems = read_tuning(
        {"search": "bayes", "grace_period": 0, "max_trials": 1.5, "target": "x", "sched": 1}, "here"
    )
    assert [problem.split(":")[0] for problem in problems] == [
        *("here.search", "here.grace_period", "here.max_trials", "here.target", "here.sched"),
    ]
    assert "here.search: must be one of random, optuna, optuna-gp, got 'bayes'" in problems


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


def test_the_help_names_the_options_that_cannot_stand_in_the_file():
    """Of those of the groups that it says can."""
    groups = {group.title: group for group in build_parser()._action_groups}
    actions = [
        action for title in ("search", "how to run") for action in groups[title]._group_actions
    ]
    others = {action.option_strings[0] for action in actions if action.dest not in TUNING}
    named = re.split(r"\. The options below|, and so may", SEARCH_TEXT)
    assert others == set(re.findall(r"--[a-z-]+", named[1]))
    elsewhere = {f"--{name.replace('_', '-')}" for name in TUNING} - {
        action.option_strings[0] for action in actions
    }
    assert elsewhere == set(re.findall(r"--[a-z-]+", named[2]))
