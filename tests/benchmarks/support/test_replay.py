import numpy as np
import pytest

from benchmarks.support.kinds import drawn
from benchmarks.support.peers import PEERS
from benchmarks.support.replay import Conditions, Method, find_method
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.registries import SCHEDULERS, SEARCHERS

SHORT = Conditions(budget=60)


def test_names_are_those_of_the_command_line():
    assert find_method("asha") == Method("asha", "random", 1)
    assert find_method("optuna") == Method("asha", "optuna", 1)
    assert find_method("hyperband+optuna@5") == Method("hyperband", "optuna", 5)
    assert find_method("random") == Method("none", "random", 1)
    with pytest.raises(ConfigurationError, match="ashaa"):
        find_method("ashaa")


@pytest.mark.parametrize("name", [*SCHEDULERS.names(), *SEARCHERS.names()])
def test_every_scheduler_and_searcher_is_replayed_and_comes_closer(name):
    outcome = find_method(name).run(drawn("conditional", 0), 0, SHORT)
    assert outcome.decisions > 0
    assert (np.diff(outcome.regret[1:]) <= 0).all()
    assert 0 <= outcome.regret[-1] < 1


def test_a_replay_is_repeatable_and_goes_by_the_seed():
    table = drawn("power-laws", 0)
    first, again, other = (find_method("asha").run(table, seed, SHORT) for seed in (0, 0, 1))
    assert np.array_equal(first.regret, again.regret)
    assert not np.array_equal(first.regret, other.regret)


def test_halving_begins_again_until_the_budget_is_spent():
    outcome = find_method("halving").run(drawn("power-laws", 0), 0, Conditions(budget=400))
    assert outcome.decisions > 2 * 81


def test_a_start_cost_leaves_time_for_fewer_epochs():
    table = drawn("power-laws", 0)
    free, dear = (
        find_method("random").run(table, 0, Conditions(budget=200, start_cost=cost))
        for cost in (0, 50)
    )
    assert dear.decisions < free.decisions


def test_optuna_is_replayed_beside():
    outcome = PEERS["optuna-tpe"].run(drawn("conditional", 0), 0, SHORT)
    assert 0 <= outcome.regret[-1] < 1
