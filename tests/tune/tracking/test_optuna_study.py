import optuna
import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.optuna_storage import open_storage
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune import load_results
from raytune_ocr.tune.space.domains import Domain
from raytune_ocr.tune.tracking.optuna_study import OptunaStudies, distributions, plain_names

DOMAINS = {
    "learning_rate": Domain("loguniform", (1e-4, 1e-1)),
    "batch_size": Domain("choice", (16, 32)),
    "optimizer_betas": Domain("choice", ((0.9, 0.99), (0.8, 0.9))),
}
STUDY = "out-1-val_char_accuracy"


@pytest.fixture(params=["journal", "database"])
def place(request, tmp_path):
    if request.param == "journal":
        return str(tmp_path / "optuna.log")
    return f"sqlite:///{tmp_path}/optuna.db"


def trial(name, scores, status="running", reason="", rate=1e-3, monitor="val_char_accuracy"):
    config = TrainingConfig(
        experiment_name=name,
        learning_rate=rate,
        batch_size=16,
        early_stopping_monitor=monitor,
        early_stopping_mode="min" if monitor == "val_loss" else "max",
    )
    sampled = {"learning_rate": rate, "batch_size": 16, "optimizer_betas": (0.8, 0.9)}
    made = TrialRecord(config, status=status, stop_reason=reason, search="found", sampled=sampled)
    for epoch, score in enumerate(scores, 1):
        made.add({"epoch": epoch, monitor: score, "seconds": 2.0})
    return made


def studies(place, *records):
    return OptunaStudies(place, "out-1", [DOMAINS], records)


def trials_in(place, name=STUDY):
    return optuna.load_study(storage=open_storage(place), study_name=name).trials


def test_trials_have_states_curves_and_parameters_while_they_run(place):
    writer = studies(place)
    for each in (
        trial("a", [0.2]),
        trial("b", [0.1, 0.3, 0.2], "completed", "max_epochs"),
        trial("c", [0.1], "completed", "scheduler"),
        trial("d", [], "failed", "error"),
        trial("e", [0.4], "completed", "time_budget"),
        trial("f", []),  # has not begun
    ):
        writer.note(each)
    found = {each.user_attrs["experiment_name"]: each for each in trials_in(place)}
    assert {name: each.state.name for name, each in found.items()} == {
        "a": "RUNNING",
        "b": "COMPLETE",
        "c": "PRUNED",
        "d": "FAIL",
        "e": "RUNNING",  # a resume trains it further
    }
    assert found["b"].intermediate_values == {1: 0.1, 2: 0.3, 3: 0.2} and found["b"].value == 0.3
    assert found["b"].params == {
        "learning_rate": 1e-3,
        "batch_size": 16,
        "optimizer_betas": "[0.8, 0.9]",
    }
    assert found["b"].distributions["learning_rate"] == optuna.distributions.FloatDistribution(
        1e-4, 1e-1, log=True
    )
    study = optuna.load_study(storage=open_storage(place), study_name=STUDY)
    assert study.best_trial.user_attrs["experiment_name"] == "b"


def test_a_resume_continues_with_the_same_trials(place):
    first = [trial("a", [0.2]), trial("b", [0.3], "completed", "max_epochs")]
    for _ in range(2):
        writer = studies(place)
        for each in (*first, *first):
            writer.note(each)
    later = studies(place)
    later.note(trial("a", [0.25, 0.5], "completed", "max_epochs"))
    (a, b) = trials_in(place)
    assert (a.intermediate_values, a.value, b.value) == ({1: 0.25, 2: 0.5}, 0.5, 0.3)


def test_a_failed_trial_that_is_tried_again_is_a_new_trial_that_says_so(place):
    writer = studies(place)
    writer.note(trial("a", [0.2], "failed", "error"))
    for _ in range(2):
        writer.note(trial("a", [0.2, 0.3]))
    failed, again = trials_in(place)
    assert (failed.state.name, again.state.name) == ("FAIL", "RUNNING")
    assert again.user_attrs["failed_trial"] == failed.number


def test_metrics_that_cannot_be_compared_have_studies_of_their_own(place):
    writer = studies(place)
    writer.note(trial("a", [0.2]))
    writer.note(trial("b", [2.0, 1.0, 3.0], "completed", "max_epochs", monitor="val_loss"))
    (lost,) = trials_in(place, "out-1-val_loss")
    assert lost.value == 1.0 and len(trials_in(place)) == 1


def test_a_changed_list_of_choices_keeps_the_study_and_the_value(place):
    studies(place).note(trial("a", [0.2]))
    wider = {**DOMAINS, "batch_size": Domain("choice", (64, 128))}
    fresh = trial("b", [0.2])
    fresh.sampled = {**fresh.sampled, "batch_size": 64}
    OptunaStudies(place, "out-1", [wider], []).note(fresh)
    _, b = trials_in(place)
    assert "batch_size" not in b.params and b.user_attrs["batch_size"] == 64


def test_trials_that_confirm_are_no_trials_of_the_study(place):
    writer = studies(place)
    confirming = trial("a-seed1", [0.2])
    confirming.confirms = "a"
    writer.note(confirming)
    assert open_storage(place).get_all_studies() == []


def test_the_results_can_be_read_back(place):
    writer = studies(place)
    writer.note(trial("a", [0.2, 0.1], "completed", "scheduler"))
    writer.note(trial("b", [0.3], "completed", "max_epochs", rate=0.01))
    table = load_results(place).set_index("experiment_name")
    assert list(table.index) == ["b", "a"]
    columns = ["best_metric", "best_value", "best_val_char_accuracy", "learning_rate"]
    assert table.loc["b", columns].tolist() == ["val_char_accuracy", 0.3, 0.3, 0.01]
    assert table.loc["a", ["stop_reason", "total_epochs", "training_time"]].tolist() == [
        *("scheduler", 2, 4.0)
    ]


def test_settings_of_presets_are_parameters_where_they_differ():
    presets = [trial("a", []), trial("b", [], rate=0.01)]
    for each in presets:
        each.sampled = {}
    found = distributions([], presets)
    assert found == {"learning_rate": optuna.distributions.CategoricalDistribution([1e-3, 0.01])}
    mixed = distributions([{"learning_rate": Domain("uniform", (0.02, 0.1))}], presets)
    assert mixed["learning_rate"] == optuna.distributions.FloatDistribution(1e-3, 0.1)


def test_parameters_of_ones_own_have_their_own_names_unless_a_setting_has_them():
    names = plain_names(["parameters.lr", "parameters.batch_size", "batch_size"])
    assert names == {
        "parameters.lr": "lr",
        "parameters.batch_size": "parameters.batch_size",
        "batch_size": "batch_size",
    }


def test_a_storage_that_fails_costs_one_warning(tmp_path, caplog, monkeypatch):
    writer = studies(str(tmp_path / "optuna.log"))

    def fail(*arguments):
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(writer._storage, "create_new_trial", fail)
        for _ in range(2):
            writer.note(trial("a", [0.2]))
    assert caplog.text.count("--optuna-storage: cannot be written now") == 1
    writer.note(trial("a", [0.2]))
    assert len(trials_in(str(tmp_path / "optuna.log"))) == 1


def test_a_place_that_cannot_be_used_is_reported_before_anything_begins():
    with pytest.raises(ConfigurationError, match="--optuna-storage: nosuch://x: cannot be opened"):
        studies("nosuch://x")
