"""What a trial requests of Ray and gets, on nodes of numbers alone."""

import pytest

from raytune_ocr.tune.cluster.cluster import Cluster
from raytune_ocr.tune.execution.ray_executor.ray_adapters import RaySearcher
from raytune_ocr.tune.execution.ray_executor.trial_request import TrialRequests
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.selection.confirmation import confirming_records
from raytune_ocr.tune.space.search_space import read_space
from raytune_ocr.tune.storage.mirror import RunCopy
from tests.fixtures.materials import train_record

PRESETS = {name: {"training": {"num_epochs": 9}} for name in "abc"}
SEARCH = {"training": {"learning_rate": {"loguniform": [1e-4, 1e-2]}}}


@pytest.fixture
def requests_of(tmp_path, monkeypatch):
    """The requests of a run on two nodes, of four CPUs and of two."""
    monkeypatch.setattr(Cluster, "nodes", lambda self: [{"CPU": 4.0}, {"CPU": 2.0}])

    def made(experiments=PRESETS, address=None, **options):
        chosen = TuneOptions(**options)
        run = Run(tmp_path, chosen, RunCopy(None, tmp_path), "t", tmp_path / "r.json")
        run.start(read_space({"experiments": experiments}), KnownPoints(), resuming=False)
        return TrialRequests(run, Cluster(address, tmp_path), chosen)

    return made


def confirming(requests, name):
    record = requests.run.records[name]
    train_record(record, 9, 0.5)
    record.complete("max_epochs")
    return next(iter(confirming_records([record], 1, 1).values()))


def test_a_trial_gets_one_cpu_or_what_it_or_the_run_asks_for(requests_of):
    experiments = {**PRESETS, "b": {"resources": {"cpus": 3, "memory": "50MB"}}}
    requests = requests_of(experiments, scheduler="asha")
    asked = {name: requests.resources(record) for name, record in requests.run.records.items()}
    assert {name: request["cpu"] for name, request in asked.items()} == {"a": 1, "b": 3, "c": 1}
    assert asked["b"]["memory"] == 50 * 10**6
    requests = requests_of(experiments, cpus_per_trial=2.0)
    asked = {name: requests.resources(r)["cpu"] for name, r in requests.run.records.items()}
    assert asked == {"a": 2, "b": 3, "c": 2}


def test_a_cohort_shares_the_cpus_unless_how_many_train_is_given(requests_of):
    requests = requests_of(scheduler="halving")
    assert requests.resources(requests.run.records["a"])["cpu"] == 2  # three trials, six CPUs
    assert requests.resources(confirming(requests, "a"))["cpu"] == 1
    requests = requests_of(scheduler="halving", max_concurrent=1)
    assert requests.resources(requests.run.records["a"])["cpu"] == 1


def test_the_settings_hold_all_that_a_trial_is_reported(requests_of):
    requests = requests_of(scheduler="halving", trial_timeout=60.0)
    record = requests.run.records["b"]
    train_record(record, 2, 0.5)  # two seconds
    record.used = {"batch_size_used": 8}
    settings = requests.settings(record)
    assert (settings["experiment_name"], settings["threads"]) == ("b", 2)
    assert settings["config"]["batch_size"] == 8
    assert settings["timeout"] == 58.0 and settings["keeps_states"]
    assert settings["request"] == requests.resources(record)


def test_a_trial_that_confirms_has_no_timeout_and_does_not_pause(requests_of):
    requests = requests_of(scheduler="halving", trial_timeout=60.0)
    settings = requests.settings(confirming(requests, "a"))
    assert settings["timeout"] is None and not settings["keeps_states"]
    assert not requests_of(scheduler="asha").settings(requests.run.records["b"])["keeps_states"]


def test_a_search_that_learns_is_asked_for_no_more_trials_than_there_is_room_for(requests_of):
    learning = {"experiments": {"found": SEARCH}, "search": "optuna"}
    assert requests_of(**learning).max_concurrent()() == 6
    assert requests_of(**learning, max_concurrent=3).max_concurrent()() == 3
    assert requests_of(**learning, max_concurrent=64).max_concurrent()() == 6
    assert requests_of(**learning).max_concurrent(confirming=True)() == 7


def test_one_trial_waits_where_the_nodes_are_those_there_are(requests_of):
    assert requests_of().max_concurrent()() == 7
    assert requests_of(max_concurrent=3).max_concurrent()() == 3
    large = {**PRESETS, "b": {"resources": {"cpus": 4}}}
    assert requests_of(large).max_concurrent()() == 7  # small ones may fill all nodes


@pytest.mark.parametrize("scheduler", ["none", "asha", "halving", "pbt"])
@pytest.mark.parametrize(("most", "asked"), [(None, 64), (16, 16)])
def test_a_cluster_that_may_grow_is_asked_for_all_that_may_train_at_once(
    requests_of, scheduler, most, asked
):
    search = {"found": {**SEARCH, "training": {**SEARCH["training"], "num_epochs": 9}}}
    options = {"scheduler": scheduler, "max_concurrent": most, "max_trials": 64}
    requests = requests_of({"found": {**search["found"], "num_samples": 64}}, "auto", **options)
    searcher = RaySearcher(requests.run.next_trial, requests.settings, requests.max_concurrent())
    given = [searcher.suggest(str(number)) for number in range(70)]
    assert sum(settings is not None for settings in given) == asked


@pytest.mark.parametrize(("most", "asked"), [(None, 10), (16, 16)])
def test_a_search_that_learns_asks_a_cluster_that_may_grow_for_what_it_can_draw_blindly(
    requests_of, monkeypatch, most, asked
):
    monkeypatch.setattr(Cluster, "nodes", lambda self: [{"CPU": 0.0}])
    experiments = {"found": {**SEARCH, "num_samples": 64}}
    requests = requests_of(experiments, "auto", search="optuna", max_concurrent=most)
    searcher = RaySearcher(requests.run.next_trial, requests.settings, requests.max_concurrent())
    given = [searcher.suggest(str(number)) for number in range(20)]
    assert sum(settings is not None for settings in given) == asked


def test_a_trial_that_names_cuda_asks_a_cluster_for_a_gpu(requests_of):
    requests = requests_of({"a": {"training": {"device": "cuda"}}}, address="auto")
    assert requests.resources(requests.run.records["a"]).get("gpu")
