"""Orders are checked as data that someone else wrote."""

import contextlib
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.journal_lines import read_line, write_line
from raytune_ocr.results.steering.orders import (
    ACTIONS,
    entry_of,
    new_order,
    order_of,
    orders_of,
    parse_order,
)

GOOD = {
    "stop": ("fast", {}),
    "pause": ("fast", {}),
    "resume": ("fast", {}),
    "extend": ("fast", {"epochs": 60}),
    "add": ("slow", {"preset": {"training": {"batch_size": 16}}, "set": {"seed": 3}}),
    "clone": ("fast", {"set": {"learning_rate": 0.1}, "name": "faster"}),
    "priority": ("fast", {"priority": -3}),
    "budget": (None, {"epochs": 10, "seconds": 60.0, "cost": 1.5}),
    "note": (None, {"text": "the learning rate was too high"}),
    "tag": ("fast", {"tag": "baseline", "remove": True}),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_order_survives_json_and_the_journal(action):
    trial, arguments = GOOD[action]
    order = new_order(action, trial, who="me", **arguments)
    assert parse_order(json.loads(json.dumps(dataclasses.asdict(order)))) == order
    entry = entry_of(order, 7)
    line = write_line({"decisions": [dataclasses.asdict(entry)]})
    (read,) = read_line(line)["decisions"]
    assert read == dataclasses.asdict(entry) and entry.epoch == 7
    assert order_of(entry) == order and orders_of([entry]) == [order]


def test_an_order_says_who_gave_it_and_when():
    order, other = new_order("note", text="x"), new_order("note", text="x")
    assert "@" in order.who and order.time > 0 and order.id != other.id


@pytest.mark.parametrize(
    ("action", "trial", "arguments", "why"),
    [
        ("stpo", None, {}, "unknown action 'stpo'.*did you mean 'stop'"),
        ("pause", None, {}, "pause: trial: must be the name of a trial, got None"),
        ("budget", "fast", {"epochs": 3}, "budget: is for the whole run"),
        ("extend", "fast", {}, "extend: epochs is required"),
        ("extend", "fast", {"epochs": "9"}, "extend: epochs: must be an integer >= 1, got '9'"),
        ("extend", "fast", {"epochs": True}, "must be an integer >= 1"),
        ("extend", "fast", {"epoch": 9}, "unknown argument 'epoch'.*did you mean 'epochs'"),
        ("budget", None, {}, "needs one or more of epochs, seconds, cost"),
        ("budget", None, {"seconds": float("inf")}, "must be a number > 0"),
        ("stop", "../fast", {}, "must be the name of a trial"),
        ("add", "a/b", {"set": {"seed": 1}}, "must be a name of letters"),
        ("add", "x", {"preset": [1]}, "must be a mapping of plain values"),
        ("note", None, {"text": " "}, "text of 1 to"),
        ("note", None, {"text": "x" * 20_000}, "text of 1 to"),
        ("tag", None, {"tag": "<b>"}, "must be a tag"),
    ],
)
def test_a_bad_order_is_refused_with_the_rule(action, trial, arguments, why):
    with pytest.raises(ConfigurationError, match=why):
        new_order(action, trial, **arguments)


@pytest.mark.parametrize(
    "change",
    [{"id": "../../etc"}, {"id": None}, {"who": ""}, {"time": "now"}, {"time": -1}, {"more": 1}],
)
def test_an_order_of_another_form_is_refused(change):
    order = dataclasses.asdict(new_order("stop", "fast"))
    with pytest.raises(ConfigurationError):
        parse_order({**order, **change})


@given(JSON, st.sampled_from(["action", "trial", "arguments", "who", "time", "id"]))
def test_no_content_breaks_the_parser(value, key):
    for content in (value, {**dataclasses.asdict(new_order("stop", "fast")), key: value}):
        with contextlib.suppress(ConfigurationError):
            parse_order(content)
