import json
import math
import re

import pytest

from raytune_ocr.config import rules
from raytune_ocr.config.rules import LONGEST_VALUE, at_least, integer, is_plain, one_of, shown
from raytune_ocr.errors import ConfigurationError


@pytest.mark.parametrize(
    ("rule", "value", "read"),
    [
        (rules.POSITIVE, 1, 1.0),
        (rules.FRACTION_OR_1, 1, 1.0),
        (rules.FRACTION_OR_0, 0, 0.0),
        (integer(1, 3), 3, 3),
        (at_least(0.5), 0.5, 0.5),
        (one_of("a", "b"), "b", "b"),
        (rules.BETAS, (0.9, 0), [0.9, 0]),
        (rules.DEVICE, "cuda:1", "cuda:1"),
        (rules.MODULES, ["a.b_c"], ["a.b_c"]),
        (rules.IMAGE_SHAPE, [3, 8, 8], [3, 8, 8]),
        (rules.KEYWORDS, {"deep": [{"a": None}]}, {"deep": [{"a": None}]}),
    ],
)
def test_a_value_that_keeps_its_rule_is_read_as_its_type(rule, value, read):
    found = rule.read(value, "here")
    assert (found, type(found)) == (read, rule.kind)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (rules.POSITIVE, 0),
        (rules.POSITIVE, True),
        (rules.POSITIVE, math.nan),
        (rules.POSITIVE, 10**400),
        (rules.NOT_NEGATIVE, math.inf),
        (rules.FRACTION, 1),
        (rules.FRACTION_OR_0, 1),
        (rules.FRACTION_OR_1, 0),
        (integer(1, 3), 4),
        (integer(1), 1.0),
        (one_of("a", "b"), "c"),
        (rules.FLAG, 1),
        (rules.TEXT, " "),
        (rules.TEXT, "\ud800"),
        (rules.BETAS, [0.9]),
        (rules.BETAS, [0.9, 1.0]),
        (rules.DEVICE, "cuda:"),
        (rules.MODULES, ["a-b"]),
        (rules.NAMES, ["\ud800"]),
        (rules.IMAGE_SHAPE, [2, 8, 8]),
        (rules.NAME, "../out"),
        (rules.NAME, "a..b"),
        (rules.KEYWORDS, {"a": object()}),
    ],
)
def test_a_value_that_breaks_its_rule_is_reported_with_place_rule_and_value(rule, value):
    words = f"here: must be {rule.text}, got {shown(value)}"
    with pytest.raises(ConfigurationError, match=f"^{re.escape(words)}$"):
        rule.read(value, "here")


def test_every_rule_has_a_schema_that_json_can_hold():
    known = [value for value in vars(rules).values() if isinstance(value, rules.Rule)]
    assert len(known) > 10
    for rule in known:
        assert json.loads(json.dumps(rule.schema)) == rule.schema and rule.schema


def test_the_value_of_a_message_is_cut():
    assert len(shown("x" * 1000)) < LONGEST_VALUE
    assert len(shown([["y" * 150] * 30])) <= LONGEST_VALUE + 3
    assert shown(10**5000) == "a number with too many digits"
    assert shown("as it is") == "'as it is'"


def test_what_is_nested_too_deeply_is_not_plain():
    value = 1
    for _ in range(20):
        value = [value]
    assert is_plain(value) and not is_plain([value])
    assert not is_plain({1: "a number as key"})
