"""Each private part of Ray that is touched is where Ray itself still uses it."""

import inspect
import json
import signal
from types import SimpleNamespace

import pytest
import ray

from raytune_ocr.tune.cluster.ray_patches import (
    bootstrap_address,
    lean_controller,
    no_signal_handlers,
    reuse_idle_workers,
    standing_in,
)


def source(thing):
    return inspect.getsource(thing)


def test_another_version_of_ray_is_to_be_looked_at():
    assert ray.__version__.startswith("2.60."), "read ray_patches.py again for this version"


def test_trials_take_processes_that_wait(monkeypatch):
    from ray.tune.execution import class_cache

    # Its source, since an earlier run of this process has emptied it.
    lines = [line for line in source(class_cache).splitlines() if not line.strip().startswith("#")]
    assert 'DEFAULT_ENV_VARS = { "PL_DISABLE_FORK": "1" }' in " ".join(" ".join(lines).split())
    variables = {"PL_DISABLE_FORK": "1"}  # which a trial sets itself
    assert "DEFAULT_ENV_VARS.copy()" in source(class_cache)
    monkeypatch.setattr(class_cache, "DEFAULT_ENV_VARS", variables)
    reuse_idle_workers()
    assert class_cache.DEFAULT_ENV_VARS == {}


def test_ray_sets_its_handler_of_sigterm_by_the_function_that_is_replaced():
    from ray._private import utils, worker

    assert "ray._private.utils.set_sigterm_handler(" in source(worker)
    before, replaced = signal.getsignal(signal.SIGTERM), utils.set_sigterm_handler
    with no_signal_handlers():
        utils.set_sigterm_handler(lambda number, frame: None)
    assert signal.getsignal(signal.SIGTERM) is before
    assert utils.set_sigterm_handler is replaced


def test_a_controller_writes_an_empty_snapshot_and_asks_for_a_trainable_once(tmp_path, monkeypatch):
    from ray.air._internal import usage
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    originals = TuneController.save_to_dir, usage.tag_callbacks, Trial.get_trainable_cls
    asked = []
    monkeypatch.setattr(Trial, "get_trainable_cls", lambda trial: asked.append(trial) or int)
    folder = tmp_path / "staging"
    controller = SimpleNamespace(
        _storage=SimpleNamespace(experiment_driver_staging_path=str(folder)),
        experiment_state_file_name="state.json",
    )
    with lean_controller():
        TuneController.save_to_dir(controller)
        assert usage.tag_callbacks([object()]) is False
        for _ in range(3):
            assert Trial.get_trainable_cls(SimpleNamespace(trainable_name="one")) is int
    assert json.loads((folder / "state.json").read_text()) == {}
    assert len(asked) == 1
    assert (TuneController.save_to_dir, usage.tag_callbacks) == originals[:2]


def test_what_a_controller_leaves_out_is_what_ray_calls():
    from ray.tune import tune
    from ray.tune.execution.tune_controller import TuneController

    assert "save_fn=self.save_to_dir" in source(TuneController)
    assert isinstance(TuneController.experiment_state_file_name, property)
    assert "air_usage.tag_callbacks(callbacks)" in source(tune)
    assert "trial.get_trainable_cls()" in source(TuneController)


def test_what_is_asked_of_a_cluster_is_where_ray_has_it():
    from ray._private.state import GlobalState

    assert bootstrap_address("10.0.0.1:6379") == "10.0.0.1:6379"
    assert "canonicalize_bootstrap_address" in source(ray._private.worker)
    assert callable(GlobalState.available_resources_per_node)


def test_what_stood_there_before_is_back_after_an_error():
    owner = SimpleNamespace(value=1)
    with pytest.raises(OSError), standing_in(owner, "value", 2):
        assert owner.value == 2
        raise OSError
    assert owner.value == 1
