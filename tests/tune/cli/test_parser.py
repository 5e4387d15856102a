import pytest

from raytune_ocr.tune.cli.parser import build_parser
from raytune_ocr.tune.options import OPTIONS, TUNING


def parse(*words):
    return build_parser().parse_args(words)


def test_an_option_that_is_not_given_is_left_to_the_file():
    arguments = parse()
    assert all(getattr(arguments, name) is None for name in TUNING)
    assert (arguments.config, arguments.output_dir) == ("presets", "training_output")


def test_every_option_has_a_help_and_stands_in_one_group():
    text = build_parser().format_help()
    for name in OPTIONS:
        assert f"--{name.replace('_', '-')}" in text
    for group in build_parser()._action_groups:
        for action in group._group_actions:
            assert action.help, action.option_strings


def test_times_and_targets_are_read_by_the_rules_of_the_options():
    arguments = parse("--time-budget", "30m", "--grace-period", "3", "--scheduler", "pbt")
    assert (arguments.time_budget, arguments.grace_period) == (1800, 3)
    assert arguments.scheduler == "pbt"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--grace-period", "0"], "--grace-period: must be an integer >= 1, got '0'"),
        (["--scheduler", "ashaa"], "--scheduler: must be one of asha, "),
        (["--seed", "-1"], "--seed: must be an integer from 0 to 4294967295, got '-1'"),
        (["--seed", "x"], "--seed: must be an integer"),
        (["--time-budget", "soon"], "--time-budget: must be"),
    ],
)
def test_a_wrong_value_is_reported_with_its_option_and_rule(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_home_folder_is_found_wherever_a_path_is_asked_for(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    arguments = parse("--data", "~/images", "--output-dir", "~/out", "--results-file", "~/r.json")
    paths = (arguments.data, arguments.output_dir, arguments.results_file)
    assert paths == ("/home/someone/images", "/home/someone/out", "/home/someone/r.json")
