from pathlib import Path

import pytest

from raytune_ocr.config.prices import Prices
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.tune.chosen_options import check_prices, chosen_options, not_followed


def test_wrong_options_of_a_caller_are_reported_together():
    with pytest.raises(ConfigurationError) as caught:
        chosen_options({"grace_period": 0, "time_budget": "soon", "data": None})
    assert "--grace-period: must be an integer >= 1, got 0" in str(caught.value)
    assert "--time-budget: must be seconds" in str(caught.value)


@pytest.mark.parametrize("scheduler", ["halving", "pbt"])
def test_a_scheduler_that_needs_all_trials_refuses_a_search_that_suggests_them(scheduler):
    with pytest.raises(ConfigurationError, match=f"{scheduler} must be used with --search random"):
        chosen_options({"scheduler": scheduler, "search": "optuna"})


def test_a_budget_of_epochs_needs_a_scheduler_that_spends_it():
    for scheduler in ("asha", "none", "pbt"):
        with pytest.raises(ConfigurationError, match=f"left out with --scheduler {scheduler}"):
            chosen_options({"scheduler": scheduler, "epoch_budget": 90})
    assert chosen_options({"scheduler": "freeze-thaw", "epoch_budget": 90}).epoch_budget == 90
    assert chosen_options({"scheduler": "auto", "epoch_budget": 90}).scheduler == "auto"


def test_a_run_keeps_a_scheduler_that_pauses_trials():
    for one, other in (("halving", "asha"), ("pbt", "asha"), ("asha", "pbt")):
        with pytest.raises(ConfigurationError, match=f"must be {other}, as at the start"):
            chosen_options({"scheduler": one}, {}, {"scheduler": other})
    assert chosen_options({}, {"scheduler": "asha"}, {"scheduler": "pbt"}).scheduler == "pbt"
    assert chosen_options({"scheduler": "median"}, {}, {"scheduler": "asha"}).scheduler == "median"


def test_a_resumed_run_keeps_its_search_unless_the_caller_gives_another():
    earlier = {"search": "optuna", "num_samples": 9, "grace_period": 2, "warm_start": ["a.json"]}
    options = chosen_options({"search": None, "warm_start": ()}, {"grace_period": 4}, earlier)
    assert (options.search, options.num_samples, options.grace_period) == ("optuna", 9, 2)
    assert options.warm_start == [str(Path("a.json").absolute())]
    nothing = {"confirm": 0, "num_samples": None, "warm_start": []}  # nothing confirmed, nor known
    options = chosen_options({}, {"confirm": 3}, nothing)
    assert (options.confirm, options.num_samples, options.warm_start) == (0, None, [])
    options = chosen_options({"num_samples": 12, "max_trials": 3}, {}, earlier)
    assert (options.num_samples, options.max_trials) == (12, 3)


def test_options_of_an_edited_file_that_a_resume_ignores_are_listed():
    earlier = {"scheduler": "asha", "grace_period": 1, "reduction_factor": 2}
    tuning = {"scheduler": "none", "grace_period": 2, "reduction_factor": 2, "max_failures": 3}
    lines = not_followed({"grace_period": 4}, tuning, earlier)
    assert lines == [
        "--resume: tuning.scheduler: none in the file is ignored: the run keeps asha; to use none, "
        "give --scheduler none"
    ]
    (line,) = not_followed({}, {"scheduler": "halving"}, earlier)
    assert line.endswith("to use halving, choose another --output-dir")
    assert not not_followed({}, tuning, {})


def test_a_resumed_run_keeps_the_scheduler_that_auto_picked_for_it():
    earlier = {"scheduler": "halving", "grace_period": 20}
    resumed = chosen_options({"scheduler": "auto"}, {}, earlier)
    assert (resumed.scheduler, resumed.grace_period) == ("halving", 20)
    assert not_followed({}, {"scheduler": "auto"}, earlier) == []
    assert chosen_options({"scheduler": "auto"}).scheduler == "auto"


def test_a_limit_of_costs_needs_prices():
    check_prices(chosen_options({"max_cost": 5}), Prices(cpu_hour=1.0))
    check_prices(chosen_options({}), None)
    with pytest.raises(ConfigurationError, match="--max-cost: must be used with prices"):
        check_prices(chosen_options({"max_cost": 5}), None)
