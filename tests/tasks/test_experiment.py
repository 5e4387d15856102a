import pytest

from raytune_ocr.errors import ExperimentFailedError
from raytune_ocr.tasks.experiment import TaskExperiment
from raytune_ocr.training import ExperimentManager
from tests.tasks.test_function import config_of


def experiment(base, function="finetune", resume=None, **settings):
    config = config_of(base, function, **settings)
    return TaskExperiment(config, lambda: ExperimentManager(base, resume))


def test_a_function_is_trained_in_an_experiment_folder_and_resumed_bit_equal(tmp_path):
    whole = experiment(tmp_path)
    results = whole.train(4)
    assert results["epochs_trained"] == 4 and results["best"].startswith("best val_mae ")
    half = experiment(tmp_path)
    half.train(2)
    rest = experiment(tmp_path, resume=half.experiment_manager.name)
    assert rest.train(4)["epochs_trained"] == 2
    assert [row["val_mae"] for row in rest.rows] == [row["val_mae"] for row in whole.rows]


def test_a_function_that_never_reports_the_metric_has_failed(tmp_path):
    with pytest.raises(ExperimentFailedError, match=r"'val_mae' \(known: val_mea\); did you mean"):
        experiment(tmp_path, "other_metric").train(2)
