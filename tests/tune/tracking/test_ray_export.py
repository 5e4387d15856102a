import shutil

import pytest
from ray.tune import ExperimentAnalysis

from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.results.document import results_document, write_json
from raytune_ocr.results.tables import write_tables
from raytune_ocr.tune import export_ray
from raytune_ocr.tune.execution.cleanup import remove_ray_state
from raytune_ocr.tune.tracking.ray_export import SNAPSHOT
from tests.fixtures.records import record_of

METRIC = {"metric": "val_char_accuracy", "mode": "max"}


@pytest.fixture
def run(tmp_path):
    """The folder of a run with a trial that was best in mid-training, a worse one, a failed one."""
    folder = tmp_path / "run"
    folder.mkdir()
    records = [record_of("one", (0.2, 0.6, 0.4)), record_of("two", (0.5,))]
    records.append(record_of("three", (), "failed"))
    write_json(folder / "results.json", results_document(records, {}, "now"))
    write_tables(folder, records, {})
    return folder


def test_rays_analysis_reads_the_trials_of_a_run(run):
    assert export_ray(run) == run / SNAPSHOT
    analysis = ExperimentAnalysis(str(run))
    statuses = {str(trial): trial.status for trial in analysis.trials}
    assert statuses == {"one": "TERMINATED", "two": "TERMINATED", "three": "ERROR"}
    best = analysis.get_best_trial(**METRIC, scope="all")
    assert str(best) == "one" and best.config["learning_rate"] == 0.001
    assert best.last_result["training_iteration"] == 3
    assert analysis.trial_dataframes[best.trial_id]["val_char_accuracy"].tolist() == [0.2, 0.6, 0.4]
    table = analysis.dataframe(**METRIC).set_index("config/experiment_name")
    assert table.loc["one", "val_char_accuracy"] == 0.6
    assert table.loc["one", "time_total_s"] == 4.0


def test_a_run_that_was_moved_can_still_be_read(run, tmp_path):
    export_ray(run)
    shutil.move(run, tmp_path / "moved")
    table = ExperimentAnalysis(str(tmp_path / "moved")).dataframe(**METRIC)
    assert table["val_char_accuracy"].tolist() == [0.6, 0.5]


def test_an_export_is_written_again_and_a_resume_removes_it(run):
    export_ray(run)
    before = {path.name for path in run.iterdir()}
    export_ray(run)
    assert {path.name for path in run.iterdir()} == before
    remove_ray_state(run)
    assert not (run / SNAPSHOT).exists()


def test_a_folder_without_results_is_reported(tmp_path):
    with pytest.raises(DataNotFoundError, match="contains neither"):
        export_ray(tmp_path)
