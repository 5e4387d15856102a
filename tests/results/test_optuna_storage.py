import optuna
import pytest

from raytune_ocr.errors import ConfigurationError, DataLoaderError, DataNotFoundError
from raytune_ocr.results.optuna_storage import is_optuna_storage, open_storage
from raytune_ocr.tune import load_results


@pytest.fixture(params=["journal", "database"])
def place(request, tmp_path):
    if request.param == "journal":
        return str(tmp_path / "optuna.log")
    return f"sqlite:///{tmp_path}/optuna.db"


def objective(trial):
    rate = trial.suggest_float("rate", 0.0, 1.0)
    trial.report(rate, 1)
    if trial.number == 1:
        raise optuna.TrialPruned
    if trial.number == 2:
        raise ValueError
    return rate


def study_in(place, name="plain", direction="minimize"):
    study = optuna.create_study(
        storage=open_storage(place),
        study_name=name,
        direction=direction,
        sampler=optuna.samplers.RandomSampler(seed=1),
    )
    study.optimize(objective, n_trials=4, catch=ValueError)
    study.ask()  # runs
    return study


def test_a_study_of_anyone_is_read_best_first_without_what_runs(place):
    study = study_in(place)
    table = load_results(place)
    assert table["experiment_name"].iloc[0] == f"trial_{study.best_trial.number}"
    assert (
        table["rank"].tolist()[:3] == [1, 2, 3] and table["best_value"].iloc[0] == study.best_value
    )
    assert sorted(table["status"]) == ["completed", "completed", "completed", "failed"]
    stopped = table[table["experiment_name"] == "trial_1"].iloc[0]
    assert (stopped["stop_reason"], stopped["total_epochs"]) == ("scheduler", 1)
    assert table["rate"].notna().all()


def test_of_several_studies_one_is_named(tmp_path):
    place = f"sqlite:///{tmp_path}/optuna.db"
    study_in(place, "one"), study_in(place, "two", "maximize")
    with pytest.raises(DataLoaderError, match="has 2 studies; pass study= with one of: one, two"):
        load_results(place)
    with pytest.raises(DataNotFoundError, match=r"unknown study 'three' \(known: one, two\)"):
        load_results(place, study="three")
    values = load_results(place, study="two")["best_value"].dropna().tolist()
    assert values == sorted(values, reverse=True)


def test_what_is_no_storage_is_reported(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"none\.log: no such"):
        load_results(tmp_path / "none.log")
    with pytest.raises(DataNotFoundError, match="has no study"):
        load_results(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(ConfigurationError, match="cannot be opened as an Optuna storage"):
        open_storage("nosuchdatabase://here/x")
    assert not is_optuna_storage(tmp_path) and not is_optuna_storage("x\0y")
