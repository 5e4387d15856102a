"""Orders to a real run that is trained by hand, and killed and resumed between them."""

import time

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.steering.orders import Answer, new_order, orders_of
from raytune_ocr.tune.execution.order_desk import OrderDesk
from tests.tune.execution.test_own_task import HOME, ByHand

SPACE = {
    "trainable": f"{HOME}:finetune",
    "metric": {"name": "val_mae", "mode": "min"},
    "epochs": 3,
    "parameters": {"samples": 32, "lr": 0.01},
    "training": {"use_tensorboard": False},
    "experiments": {"first": {}, "second": {"parameters": {"lr": 0.02}}},
    "prices": {"cpu_hour": 1.0},
}


@pytest.fixture
def start(tmp_path):
    def begin(space=SPACE, resume=False, **options):
        return ByHand(tmp_path, space, resume, **{"scheduler": "none", **options})

    return begin


def give(by_hand, action, trial=None, **arguments):
    return by_hand.run.orders.carry_out(new_order(action, trial, **arguments))


def epochs(by_hand):
    return {name: len(record.epochs) for name, record in by_hand.run.records.items()}


def test_trials_are_added_cloned_extended_and_stopped_and_a_resume_knows_it(start):
    first = start()
    first.train(killed_after=4)  # the first trial and an epoch of the second
    give(first, "extend", "first", epochs=5)
    assert (
        give(first, "add", "third", preset={"epochs": 2}) == "third starts when resources are free"
    )
    assert give(first, "clone", "first", set={"parameters.lr": 0.5}).startswith("first_c1 starts")
    assert give(first, "stop", "second") == "stopped after epoch 1"
    give(first, "priority", "third", priority=3)
    give(first, "note", "second", text="too slow")
    before = {n: (r.config, r.status, r.stop_reason) for n, r in first.run.records.items()}
    assert before["first_c1"][0].parameters["lr"] == 0.5 and before["third"][0].num_epochs == 2

    again = start(resume=True)
    assert {n: (r.config, r.status, r.stop_reason) for n, r in again.run.records.items()} == before
    assert again.run.next_trial().name == "third"
    again.run.study.restart()
    again.train()
    assert epochs(again) == {"first": 5, "second": 1, "third": 2, "first_c1": 5}
    results = {r["experiment_name"]: r["stop_reason"] for r in again.document["all_results"]}
    assert results == {**dict.fromkeys(results, "max_epochs"), "second": "user"}
    given = [order.action for order in orders_of(again.run.journal.read().decisions)]
    assert given == ["extend", "add", "clone", "stop", "priority", "note"]


def test_a_paused_trial_waits_also_after_a_kill_until_it_is_resumed(start):
    first = start()
    first.train(killed_after=1)
    give(first, "pause", "first")
    again = start(resume=True)
    assert again.run.records["first"].status == "paused" and again.run.study.waits_for_orders
    again.train(killed_after=100)
    assert epochs(again) == {"first": 1, "second": 3} and again.run.next_trial() is None
    give(again, "resume", "first")
    assert epochs(again.train()) == {"first": 3, "second": 3}


def test_a_trial_that_was_stopped_before_it_began_is_no_result(start):
    first = start()
    assert give(first, "stop", "second") == "removed before its first epoch"
    assert list(first.run.records) == ["first"]
    again = start(resume=True).train()
    assert [r["experiment_name"] for r in again.document["all_results"]] == ["first"]


@pytest.mark.parametrize(
    ("action", "trial", "arguments", "why"),
    [
        ("stop", "nobody", {}, "unknown trial 'nobody'"),
        ("note", "nobody", {"text": "x"}, "there is no trial nobody"),
        ("resume", "first", {}, "first is not paused by an order"),
        ("add", "first", {"preset": {}}, "there is one"),
        ("add", "x", {"preset": {"epohs": 3}}, "did you mean 'epochs'"),
        ("add", "x", {"preset": {"parameters": {"lr": {"uniform": [0, 1]}}}}, "constant values"),
        ("add", "x", {"preset": {"trainable": "os:system"}}, "modules that the run has imported"),
        ("add", "x", {"set": {"imports": ["antigravity"]}}, "modules that the run has imported"),
        ("add", "x", {"set": {"parameters.samples": 8}}, "must use data of the run"),
        ("add", "x", {"preset": {"metric": {"name": "val_mae", "mode": "max"}}}, "one early_stop"),
        ("add", "orders", {"preset": {}}, "must not be the name of a file of the run"),
        ("clone", "first", {"set": {}}, "must change at least one setting"),
        ("clone", "first", {"set": {"parameters.lx": 1}}, "unknown parameter 'lx'"),
        ("clone", "first", {"set": {"output_dir": "/"}}, "must not be changed"),
        ("clone", "first", {"set": {"num_epochs": 0}}, "must be an integer >= 1"),
        ("clone", "first", {"set": {"seed": 1}, "name": "second"}, "there is one"),
        ("budget", None, {"epochs": 100}, "none has no budget of epochs"),
        ("budget", None, {"seconds": 1e-9}, "must be above"),
        ("budget", None, {"cost": 0.0}, "must be above"),
    ],
)
def test_a_bad_order_is_refused_and_no_entry(start, action, trial, arguments, why):
    by_hand = start(scheduler="asha") if "one early" in why else start()
    by_hand.run.budget.begin()
    time.sleep(0.001)
    before = by_hand.run.journal.path.read_bytes()
    with pytest.raises(ConfigurationError, match=why):
        give(by_hand, action, trial, **arguments)
    assert by_hand.run.journal.path.read_bytes() == before
    assert list(by_hand.run.records) == ["first", "second"]


def test_a_finished_trial_without_its_state_cannot_be_extended(start):
    start().train()
    again = start(resume=True)
    lost = next(
        n for n in again.run.records if not list((again.run.output_dir / n).glob("check*_*"))
    )
    with pytest.raises(ConfigurationError, match="its state is no longer kept"):
        give(again, "extend", lost, epochs=9)


def test_a_run_may_have_no_more_trials_than_its_limit(start):
    with pytest.raises(ConfigurationError, match="--max-trials: the run may have 2"):
        give(start(max_trials=2), "add", "x", preset={})


def test_ordered_limits_hold_on_a_resume_unless_its_options_name_others(start):
    first = start(time_budget=60.0)
    give(first, "budget", seconds=90.0, cost=5.0)
    for seconds, holds in ((60.0, 90.0), (70.0, 70.0)):
        budget = start(resume=True, time_budget=seconds).run.budget
        assert (budget.seconds, budget.max_cost) == (holds, 5.0)


def test_an_order_can_end_the_run(start):
    first, ended = start(), []
    first.run.orders.on_end = lambda: ended.append(True)
    assert give(first, "stop") == "the run ends; --resume continues it" and ended
    assert not start(resume=True).run.budget.reason


def test_a_trial_that_was_paused_stopped_and_extended_trains_also_after_a_resume(start):
    first = start()
    first.train(killed_after=4)
    give(first, "pause", "second")
    assert give(first, "stop", "second") == "stopped after epoch 1"
    give(first, "extend", "second", epochs=5)
    assert not first.run.study.waits_for_orders
    again = start(resume=True)
    assert not again.run.study.waits_for_orders
    again.train()
    assert epochs(again) == {"first": 3, "second": 5}


POPULATION = {"scheduler": "pbt", "grace_period": 2, "max_concurrent": 1}
SEARCH = {
    **{name: value for name, value in SPACE.items() if name != "experiments"},
    "changeable": ["lr"],
    "epochs": 6,
    "experiments": {
        "found": {"num_samples": 4, "parameters": {"lr": {"loguniform": [0.001, 0.1]}}}
    },
}


def test_names_that_the_scheduler_makes_are_not_those_of_ordered_trials(start):
    population = start(SEARCH, **POPULATION)
    for name in ("found_g1", "found_0001_g2_3"):
        with pytest.raises(ConfigurationError, match=rf"names of clones do.*pbt.*'{name}'"):
            give(population, "add", name, preset={})


def test_a_trial_that_was_replaced_and_then_extended_trains_on_after_a_kill(start):
    first = start(SEARCH, **POPULATION)
    first.train(killed_after=8)  # two epochs of each; then it decides who is replaced
    (replaced,) = (n for n, r in first.run.records.items() if r.stop_reason == "scheduler")
    give(first, "extend", replaced, epochs=8)
    again = start(SEARCH, resume=True, **POPULATION)
    assert not again.run.records[replaced].is_finished
    again.train()
    assert epochs(again)[replaced] == 8


def test_an_order_that_raises_anything_is_refused_and_the_run_trains_on(start, monkeypatch):
    first = start()
    desk = OrderDesk(first.run)

    def odd(order):
        raise TypeError("odd")

    monkeypatch.setattr(first.run.orders, "carry_out", odd)
    assert desk._answer(new_order("stop", "first")) == Answer(False, "TypeError: odd")
