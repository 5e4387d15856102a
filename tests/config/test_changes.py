import pytest

from raytune_ocr.config.changes import CHANGEABLE
from raytune_ocr.config.settings import check
from raytune_ocr.errors import ConfigurationError


@pytest.mark.parametrize(
    "value",
    [
        [{"after_epoch": 2, "learning_rate": 0.1}, {"after_epoch": 5, "label_smoothing": 0}],
        [],
    ],
)
def test_changes_are_read_by_the_rules_of_what_they_change(value):
    assert check("changes", value) == value


@pytest.mark.parametrize(
    "value",
    [
        [{"after_epoch": 2}],
        [{"learning_rate": 0.1}],
        [{"after_epoch": 0, "learning_rate": 0.1}],
        [{"after_epoch": 2, "learning_rate": -1}],
        [{"after_epoch": 2, "batch_size": 8}],
        [{"after_epoch": 5, "learning_rate": 0.1}, {"after_epoch": 5, "learning_rate": 0.2}],
        [3],
    ],
)
def test_changes_that_break_a_rule_are_refused(value):
    with pytest.raises(ConfigurationError, match=r"^changes: must be a list such as") as caught:
        check("changes", value)
    assert all(name in str(caught.value) for name in CHANGEABLE)
