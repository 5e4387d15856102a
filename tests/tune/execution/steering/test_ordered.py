"""Schedulers and searchers see a trial apart as it was when the order came."""

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.steering.orders import new_order
from raytune_ocr.tune.execution.steering.ordered import AsOf, Ordered, extendable, unfinished
from tests.fixtures.simulated import by_name, simulated


def test_a_trial_apart_is_seen_as_it_was():
    trial = simulated("a", curve=(0.1, 0.2, 0.3))
    seen = AsOf(trial, 2)
    assert seen.is_finished and not seen.failed and seen.curve == {1: 0.1, 2: 0.2}
    assert (seen.name, seen.max_epochs) == ("a", 10)


def test_others_are_seen_as_they_are_and_hidden_ones_not_at_all():
    orders, trials = Ordered(), by_name(*map(simulated, "abc"))
    assert orders.seen(trials) is trials
    orders.apart = {"b": AsOf(trials["b"], 0), "c": None}
    assert list(orders.seen(trials)) == ["a", "b"] and orders.seen(trials)["a"] is trials["a"]
    orders.withdrawn["d"] = simulated("d")
    assert list(orders.suggested(trials)) == ["a", "b", "d"]


def test_higher_priorities_come_first_and_zero_is_always_there():
    orders, trials = Ordered(), by_name(*map(simulated, "abc"))
    assert orders.levels(trials) == [0]
    orders.priorities = {"a": -1, "b": 5, "gone": 9}
    assert orders.levels(trials) == [5, 0, -1]
    assert [list(orders.at(level, trials)) for level in (5, 0, -1)] == [["b"], ["c"], ["a"]]


def test_an_order_on_a_trial_that_cannot_follow_it_is_refused():
    trials = by_name(simulated("a", curve=(0.1, 0.2)), simulated("b", 1, status="completed"))
    with pytest.raises(ConfigurationError, match="unknown trial 'c'"):
        unfinished(new_order("stop", "c"), trials)
    with pytest.raises(ConfigurationError, match="b has already finished"):
        unfinished(new_order("pause", "b"), trials)
    for epochs, why in ((2, "must be above 2, which"), (10, "must be above 10, to which")):
        with pytest.raises(ConfigurationError, match=why):
            extendable(new_order("extend", "a", epochs=epochs), trials)
    trials["b"].stop_reason = "early_stopping"
    with pytest.raises(ConfigurationError, match="by early_stopping and cannot"):
        extendable(new_order("extend", "b", epochs=5), trials)
