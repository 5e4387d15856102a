import pandas as pd
import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.report.tables import write_report_tables
from raytune_ocr.results.document import RESULTS_COPY, results_document, write_json
from raytune_ocr.results.record import TrialRecord
from tests.fixtures.records import record_of, searched_run

READER = {
    "misread": [{"image": 3, "there": "១", "read": "៧", "confidence": 0.5, "picture": "data:"}],
    "calibration": {"before": [[0.5, 0.0, 1]], "after": [[0.2, 0.0, 1]]},
}


def written(folder, records, reader=READER):
    """The tables of these trials, by name."""
    write_json(folder / RESULTS_COPY, results_document(records, {}, "20260101_000000"))
    write_report_tables(folder, folder / "tables", reader)
    return {path.stem: pd.read_csv(path) for path in (folder / "tables").glob("*.csv")}


def trial_with(number, options, **more):
    config = TrainingConfig(experiment_name=f"t{number}", model_options=options)
    made = TrialRecord(config, status="completed", **more)
    row = {"epoch": 1, "train_loss": 0.1, "val_char_accuracy": 0.5, "val_seq_accuracy": 0.4}
    made.add({**row, "seconds": 1.0})
    return made


def test_a_run_has_its_tables_as_csv_and_parquet_and_no_empty_ones(tmp_path):
    run = searched_run(tmp_path / "run")
    write_report_tables(run, tmp_path / "out", {"error": "no reader"})
    names = {path.stem for path in (tmp_path / "out").glob("*.csv")}
    assert names == {
        *("trials", "epochs", "pareto", "failures", "targets", "importance", "settings"),
        "resources",
    }
    for name in names:
        table = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        assert len(pd.read_parquet(tmp_path / "out" / f"{name}.parquet")) == len(table) > 0
    assert pd.read_csv(tmp_path / "out" / "resources.csv")["seconds"][0] == 27.0


def test_the_errors_of_a_reader_are_tables_without_pictures(tmp_path):
    tables = written(tmp_path, [record_of("one")])
    assert list(tables["misread"]) == ["image", "there", "read", "confidence"]
    assert tables["reliability"]["kind"].tolist() == ["as it is", "calibrated"]


def test_costs_have_a_row_a_preset_without_columns_that_nothing_is_known_of(tmp_path):
    record = record_of("one")
    for row in record.epochs:
        row |= {"seconds": 1800.0, "cpus": 2.0, "gpus": 0.0}
    assert written(tmp_path, [record])["costs"].to_dict("records") == [
        {"experiment_name": "one", "trials": 1, "cpu_hours": 3.0, "gpu_hours": 0.0}
    ]


def test_settings_that_some_trials_lack_are_missing_there(tmp_path):
    options = [{}, {"hidden": 128}, {"hidden": 192}, {"temporal_width": 8}]
    records = [trial_with(number, some) for number, some in enumerate(options)]
    records.append(TrialRecord(TrainingConfig(experiment_name="lost"), status="failed"))
    settings = written(tmp_path, records)["settings"]
    assert len(settings) == 4  # with a score
    assert settings["model_options.hidden"].dropna().tolist() == [128, 192]
    assert settings["model_options.temporal_width"].dropna().tolist() == [8]


@pytest.mark.parametrize("options", [[{}], [{}, {}], [{}, {"hidden": 64}]])
def test_searched_options_of_a_model_may_be_empty(tmp_path, options):
    records = [
        trial_with(n, some, sampled={"model_options": some}) for n, some in enumerate(options)
    ]
    written(tmp_path, records)
    trials = pd.read_parquet(tmp_path / "tables" / "trials.parquet")
    assert trials["model_options"].tolist() == list(map(str, options))
