"""Each private part of Ray that is touched is where Ray itself still uses it."""

import inspect
import json
import os
import signal
import subprocess
from types import SimpleNamespace

import psutil
import pytest
import ray

from raytune_ocr.tune.cluster import ray_patches
from raytune_ocr.tune.cluster.ray_patches import (
    actor_of,
    bootstrap_address,
    complete_wandb_files,
    failures_of,
    lean_controller,
    mlflow_runs,
    no_signal_handlers,
    own_process_group,
    patient_start,
    reuse_idle_workers,
    set_failures,
    standing_in,
    trial_of_ray,
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


def test_ray_starts_its_processes_in_a_session_of_their_own():
    from ray._private import services, utils

    def session():  # of a process that is prepared as Ray prepares one
        process = subprocess.Popen(["sleep", "9"], preexec_fn=utils.set_kill_on_parent_death_linux)
        found = os.getsid(process.pid) == process.pid
        process.kill()
        process.wait()
        return found

    begin = inspect.getsource(services.start_ray_process)
    assert "ray._private.utils.set_kill_on_parent_death_linux()" in begin
    with own_process_group():
        assert session()
    assert not session()


def test_ray_sets_its_handler_of_sigterm_by_the_function_that_is_replaced():
    from ray._private import utils, worker

    assert "ray._private.utils.set_sigterm_handler(" in source(worker)
    before, replaced = signal.getsignal(signal.SIGTERM), utils.set_sigterm_handler
    with no_signal_handlers():
        utils.set_sigterm_handler(lambda number, frame: None)
    assert signal.getsignal(signal.SIGTERM) is before
    assert utils.set_sigterm_handler is replaced


def test_ray_asks_for_its_node_by_the_function_that_is_replaced(monkeypatch):
    from ray._private import node, services

    assert "node_info = ray._private.services.get_node(" in source(node)
    answers = iter([RuntimeError("not there"), RuntimeError("not there"), {"node": 1}])

    def ask(address, node_id):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(services, "get_node", ask)
    monkeypatch.setattr(ray_patches, "_has_raylet", lambda: True)
    with patient_start(60):
        assert services.get_node("here", node_id="1") == {"node": 1}
    assert services.get_node is ask
    answers = iter([RuntimeError("gone")])
    with patient_start(0), pytest.raises(RuntimeError, match="gone"):
        services.get_node("here", "1")
    answers = iter([RuntimeError("not there")])
    monkeypatch.undo()
    monkeypatch.setattr(services, "get_node", ask)
    monkeypatch.setattr(psutil.Process, "children", lambda process: [])
    with patient_start(60), pytest.raises(ConnectionError, match=ray_patches.RAYLET_ENDED):
        services.get_node("here", "1")  # and this process has started no raylet


def test_a_trial_of_ray_is_retried_by_the_failures_that_are_set(tmp_path):
    trial = trial_of_ray(tmp_path, "a", "00000", {}, max_failures=1)
    assert actor_of(trial) is None and failures_of(trial) == 0
    assert [trial.should_recover() for n in (0, 1, 2) if not set_failures(trial, n)] == [1, 1, 0]
    assert failures_of(trial) == 2
    set_failures(trial, -1)
    assert failures_of(trial) == 0


def test_rays_trackers_keep_what_is_changed_where_it_is_changed():
    from ray.air.integrations import mlflow, wandb

    assert "self._trial_runs[trial] = run.info.run_id" in source(mlflow)
    assert mlflow_runs(SimpleNamespace(_trial_runs={"trial": "run"})) == {"trial": "run"}
    assert "(self._logger_actor_cls)" in source(wandb.WandbLoggerCallback)
    writer = complete_wandb_files(type("Own", (wandb.WandbLoggerCallback,), {}))._logger_actor_cls
    assert issubclass(writer, wandb._WandbLoggingActor)
    assert "self._wandb.finish()" in source(wandb._WandbLoggingActor.run)  # before the teardown
    assert wandb.WandbLoggerCallback._logger_actor_cls is wandb._WandbLoggingActor


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
