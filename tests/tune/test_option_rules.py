import pytest

from raytune_ocr.results.targets import Target
from raytune_ocr.tune.option_rules import DURATION, goal_rule, integer, parse_duration, parse_target


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("0.5h", 1800), (45, 45), ("45", 45)],
)
def test_times_are_read_with_their_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 days", "-3", "0s", "1h 5x", None, True, "nan"])
def test_what_is_no_time_is_none(text):
    assert parse_duration(text) is None


def test_a_target_is_text_or_a_mapping():
    expected = Target("character_accuracy", 0.9)
    assert parse_target("character_accuracy=0.9") == expected
    assert parse_target({"character_accuracy": 0.9}) == expected == parse_target(expected)
    assert parse_target("speed=3") == Target("speed", 3.0)  # of a task of one's own
    assert parse_target("=3") is None and parse_target("val_loss") is None


@pytest.mark.parametrize(
    "value", ["character_accuracy=99", {"accuracy": 0}, "val_char_accuracy=-1", "val_loss=-0.1"]
)
def test_a_target_that_no_trial_can_reach_is_none(value):
    assert parse_target(value) is None


def test_a_loss_may_be_above_one():
    assert parse_target("val_loss=2.5") == Target("val_loss", 2.5)
    assert goal_rule("convergence_epochs").read(40, "x") == 40


@pytest.mark.parametrize("value", ["1:30", "2:00", 10**400, [90], {"h": 1}])
def test_what_is_no_time_in_a_file_is_none_either(value):
    assert parse_duration(value) is None and DURATION.read(value) is None


def test_an_integer_with_a_leading_zero_is_decimal():
    assert integer(1).read("010") == integer(1).read(10) == 10
    assert integer(1).read("1.5") is None and integer(1).read(True) is None
