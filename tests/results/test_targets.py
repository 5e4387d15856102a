import math

import pytest

from raytune_ocr.results.targets import Target


@pytest.mark.parametrize(
    ("name", "best", "reached"),
    [
        ("character_accuracy", {"val_char_accuracy": 0.9}, True),
        ("character_accuracy", {"val_char_accuracy": 0.89}, False),
        ("val_loss", {"val_loss": 0.9}, True),
        ("val_loss", {"val_loss": 0.91}, False),
        ("val_loss", {"val_loss": math.nan}, False),
        ("val_loss", {}, False),
    ],
)
def test_a_target_is_reached_in_the_direction_of_its_metric(name, best, reached):
    assert Target(name, 0.9).reached(best) is reached


def test_a_target_reads_as_it_is_written_on_the_command_line():
    assert str(Target("val_loss", 0.5)) == "val_loss=0.5"
