"""What an order to add, clone or extend a trial makes of its settings."""

import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.steering.orders import entry_of, new_order
from raytune_ocr.tune.execution.steering.ordered_records import (
    OrderedRecords,
    clone_name,
    extended,
    modules_in,
)
from raytune_ocr.tune.space.search_space import read_space

SPACE = read_space(
    {"experiments": {"fast": {"training": {"batch_size": 8}}}, "resources": {"cpus": 2}},
    "space.yaml",
    {"seed": 7},
)
RECORDS = OrderedRecords("out", SPACE)


def fast(**settings):
    return TrialRecord(TrainingConfig(experiment_name="fast", output_dir="out", **settings))


def test_an_added_trial_has_what_the_file_and_the_caller_say_for_all():
    record = RECORDS.make(new_order("add", "slow", preset={"training": {"batch_size": 4}}), None)
    config = record.config
    assert (record.name, config.batch_size, config.seed) == ("slow", 4, 7)
    assert (record.resources.cpus, config.output_dir, record.search) == (2, "out", "")


def test_a_clone_differs_in_what_is_set_and_in_its_name_only():
    parent = fast(batch_size=8)
    clone = RECORDS.make(new_order("clone", "fast", set={"batch_size": 4}), parent, {"fast"})
    changed = {n for n, v in clone.config.to_dict().items() if v != parent.config.to_dict()[n]}
    assert changed == {"batch_size", "experiment_name"} and clone.name == "fast_c1"


def test_a_model_that_cannot_be_built_is_refused():
    order = new_order("clone", "fast", set={"model_name": "no_such_model"})
    with pytest.raises(ConfigurationError, match="no_such_model"):
        RECORDS.make(order, fast())


def test_names_of_clones_are_new_and_never_too_long():
    taken = set()
    for _ in range(12):
        taken.add(clone_name("x" * 100, taken))
    assert len(taken) == 12 and max(map(len, taken)) == 100


def test_modules_are_found_at_any_depth():
    content = {"model": {"imports": ["a.b", "c"]}, "trainable": "d:train", "note": {"x": 1}}
    assert list(modules_in(content)) == ["a.b", "c", "d"] and list(modules_in([])) == []


def test_earlier_orders_are_repeated_in_order():
    orders = [
        new_order("extend", "fast", epochs=50),
        new_order("clone", "fast", set={"batch_size": 4}, name="clone"),
        new_order("extend", "clone", epochs=60),
        new_order("extend", "left_out", epochs=60),
        new_order("note", text="x"),
    ]
    trials = {"fast": fast(num_epochs=40)}
    RECORDS.restore(trials, map(entry_of, orders), "run_state.jsonl")
    assert {n: t.config.num_epochs for n, t in trials.items()} == {"fast": 50, "clone": 60}


def test_an_extended_config_has_another_last_epoch_and_nothing_else():
    was, now = TrainingConfig(num_epochs=4).to_dict(), extended(TrainingConfig(num_epochs=4), 9)
    changed = [name for name, value in now.to_dict().items() if value != was[name]]
    assert changed == ["num_epochs"] and now.num_epochs == 9


def test_a_registered_task_has_no_module_and_one_of_a_module_must_be_of_the_run():
    assert list(modules_in({"task": "classifier"})) == []
    for key in ("task", "trainable"):
        order = new_order("add", "slow", preset={}, set={key: "not_of_this_run:Thing"})
        with pytest.raises(ConfigurationError, match="must name modules that the run has imported"):
            RECORDS.make(order, None)
        order = new_order("clone", "fast", set={key: "not_of_this_run:Thing"})
        with pytest.raises(ConfigurationError, match=f"{key} must not be changed in a clone"):
            RECORDS.make(order, fast())


@pytest.mark.parametrize("parameters", [5, [1]])
def test_parameters_that_are_no_mapping_are_refused(parameters):
    preset = {"parameters": parameters}
    order = new_order("add", "slow", preset=preset, set={"parameters.lr": 0.1})
    with pytest.raises(ConfigurationError, match="parameters: must be a mapping"):
        RECORDS.make(order, None)
    order = new_order("clone", "fast", set={"parameters.lr": 0.1, "parameters": parameters})
    with pytest.raises(ConfigurationError, match="parameters: must be a mapping"):
        RECORDS.make(order, fast(parameters={"lr": 0.2}))


def test_a_clone_may_follow_another_metric_in_its_direction():
    changes = {"early_stopping_monitor": "quality", "early_stopping_mode": "max"}
    clone = RECORDS.make(new_order("clone", "fast", set=changes), fast())
    assert clone.config.early_stopping_mode == "max"
    changes = {"early_stopping_monitor": "val_loss"}
    clone = RECORDS.make(new_order("clone", "fast", set=changes), fast())
    assert clone.config.early_stopping_mode == "min"
