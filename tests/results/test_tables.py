import math

import pytest

from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.results.aggregate import epochs_table
from raytune_ocr.results.document import results_document, write_json
from raytune_ocr.results.tables import write_csv, write_tables
from raytune_ocr.tune import load_results
from tests.fixtures.records import record_of, row


def test_tables_are_written_for_pandas(tmp_path):
    import pandas as pd

    write_tables(tmp_path, [record_of(), record_of("two")], {})
    epochs = pd.read_csv(tmp_path / "epochs.csv")
    assert list(epochs["epoch"]) == [1, 2, 3, 1, 2, 3]
    assert list(pd.read_csv(tmp_path / "trials.csv")["experiment_name"]) == ["one", "two"]


def test_text_that_a_spreadsheet_would_compute_is_quoted_in_every_table(tmp_path):
    import pandas as pd

    failed = record_of()
    failed.fail('=HYPERLINK("http://x")\nValueError')
    write_tables(tmp_path, [failed], {})
    (message,) = pd.read_csv(tmp_path / "trials.csv")["error_message"]
    assert message.startswith("'=HYPERLINK")
    table = pd.DataFrame({"@who": ["-1", "+cmd", "a"], "gain": [-1.5, 2, None]})
    write_csv(tmp_path / "t.csv", table)
    assert (tmp_path / "t.csv").read_text() == "'@who,gain\n-1,-1.5\n'+cmd,2.0\na,\n"
    assert list(table) == ["@who", "gain"] and table["@who"][1] == "+cmd"


def test_the_gpu_column_is_there_only_with_a_gpu():
    assert "gpu_memory_mb" not in epochs_table([record_of()])
    with_gpu = record_of()
    with_gpu.add({**row(4, 0.5), "gpu_memory_mb": 100.0})
    assert "gpu_memory_mb" in epochs_table([with_gpu])


def test_results_load_from_a_file_a_folder_and_several(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, results_document([record_of("a", (0.1,)), record_of("b", (0.7,))], {}, "now"))
    table = load_results(path)
    assert list(table["experiment_name"]) == ["b", "a"]
    assert table.loc[0, "learning_rate"] == 1e-3
    assert load_results(tmp_path).equals(table)
    assert len(load_results([path, tmp_path])) == 4


def test_a_run_in_which_nothing_has_finished_is_an_empty_table_with_its_columns(tmp_path):
    write_json(tmp_path / "none.json", results_document([], {}, "now"))
    write_json(tmp_path / "one.json", results_document([record_of()], {}, "now"))
    table, one = load_results(tmp_path / "none.json"), load_results(tmp_path / "one.json")
    assert len(table) == 0 and {"experiment_name", "rank", "val_loss", "learning_rate"} < set(table)
    assert table["rank"].dtype == one["rank"].dtype
    assert len(load_results([tmp_path / "none.json", tmp_path / "one.json"])) == 1


def test_results_of_several_runs_are_the_best_first(tmp_path):
    runs = {"a": {"a1": 0.9, "a2": 0.2, "a3": 0.5}, "b": {"b1": 0.99, "b2": 0.5, "b3": 0.95}}
    for name, scores in runs.items():
        records = [record_of(trial, (score,)) for trial, score in scores.items()]
        write_json(tmp_path / name, results_document(records, {}, "now"))
    (tmp_path / "none").write_text('{"all_results": []}')
    table = load_results([tmp_path / "a", tmp_path / "none", tmp_path / "b"])
    assert list(table["experiment_name"]) == ["b1", "b3", "a1", "a3", "b2", "a2"]
    assert list(table.index) == list(range(6))
    assert table["source"][0] == str(tmp_path / "b")


def test_results_of_the_original_system_load(tmp_path):
    path = tmp_path / "hyperparameter_tuning_results_1.json"
    path.write_text(
        '{"experiments_completed": 1, "best_result": null, "all_results": ['
        '{"experiment_name": "a", "status": "completed", "best_val_char_accuracy": 0.0,'
        ' "best_val_loss": Infinity, "hyperparameters": {"model_name": "small"}},'
        '{"experiment_name": "b", "status": "failed", "error": "Unknown model: ctc"}]}'
    )
    table = load_results(path).set_index("experiment_name")
    assert table.loc["b", "error_message"] == "Unknown model: ctc"
    assert table.loc["a", "model_name"] == "small"
    assert math.isnan(table.loc["a", "best_val_loss"])


@pytest.mark.parametrize("number", [1.5, 1e300, "x", True, None])
def test_a_number_of_others_that_is_no_integer_is_missing_in_its_column(tmp_path, number):
    document = results_document([record_of("a", (0.1,)), record_of("b", (0.7,))], {}, "now")
    document["all_results"][0]["total_epochs"] = number
    write_json(tmp_path / "results.json", document)
    epochs = load_results(tmp_path).set_index("experiment_name")["total_epochs"]
    assert epochs.dtype == "Int64" and epochs.isna().sum() == 1 and set(epochs.dropna()) == {1}


def test_missing_results_are_reported(tmp_path):
    with pytest.raises(DataNotFoundError, match="contains neither"):
        load_results(tmp_path)
