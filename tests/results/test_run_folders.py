"""Where a run's tables and models are looked for, and that no other run's are taken for them."""

import shutil
from pathlib import Path

import pytest

from raytune_ocr.analyze import main as analyze
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.errors import CheckpointError
from raytune_ocr.inference.locate import find_checkpoint
from raytune_ocr.results.decision import CONTINUE, Decision
from raytune_ocr.results.document import RESULTS_COPY, read_document, results_document, write_json
from raytune_ocr.results.journal import Journal
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.results.run_folders import run_folders, taken
from raytune_ocr.results.tables import write_tables
from raytune_ocr.tune import learning_curves
from raytune_ocr.tune.__main__ import main
from raytune_ocr.tune.execution.run import Run
from raytune_ocr.tune.options import TuneOptions
from raytune_ocr.tune.search.warm_start import KnownPoints
from raytune_ocr.tune.space.search_space import read_space
from raytune_ocr.tune.storage.mirror import RunCopy
from tests.fixtures.browser import page_data
from tests.fixtures.materials import train_record


@pytest.fixture
def leave_run(tmp_path):
    """What a run leaves that began at `timestamp`: its JSON beside its output folder."""

    def leave(timestamp, value, name="one"):
        folder = tmp_path / "out"
        config = TrainingConfig(experiment_name=name, output_dir=str(folder), metadata_path="none")
        record = TrialRecord(config, status="completed", stop_reason="max_epochs")
        train_record(record, 2, value)
        model = folder / name / "checkpoints" / "best_model.pt"
        model.parent.mkdir(parents=True, exist_ok=True)
        model.write_text(timestamp)
        document = results_document([record], {}, timestamp)
        for path in (tmp_path / f"{timestamp}.json", folder / RESULTS_COPY):
            write_json(path, document)
        write_tables(folder, [record], {})
        journal = Journal(folder)
        journal.rewrite({}, {})
        rung = Decision("asha", name, round(value * 10), CONTINUE, {"score": value})
        journal.append_decisions([rung])
        journal.close()
        return tmp_path / f"{timestamp}.json"

    return leave


def page(source, folder):
    """What the report shows of the run."""
    assert analyze([str(source), "--output", str(folder)]) == 0
    return page_data(folder / "report.html")["runs"][0]


def test_a_results_file_is_not_shown_with_what_a_later_run_left_in_its_folder(
    leave_run, tmp_path, capsys
):
    first = leave_run("first", 0.9)
    assert learning_curves(first)["val_char_accuracy"].tolist() == [0.9, 0.9]
    assert find_checkpoint(first).read_text() == "first"
    assert page(first, tmp_path / "report")["rungs"] == [9]
    second = leave_run("second", 0.2)
    found = f"{tmp_path / 'out'} now has another run, started second"
    assert learning_curves(first).empty
    with pytest.raises(CheckpointError, match=found):
        find_checkpoint(first)
    shown = page(first, tmp_path / "report")
    assert shown["results"]["gone"].startswith(found)
    assert shown["rungs"] == [] and [row[0] for row in shown["trials"]] == ["one"]
    assert main(["--reproduce", str(first)]) == 2
    assert found in capsys.readouterr().err
    for source in (second, tmp_path / "out"):
        assert learning_curves(source)["val_char_accuracy"].tolist() == [0.2, 0.2]
        assert find_checkpoint(source).read_text() == "second"
        assert page(source, tmp_path / "report")["rungs"] == [2]


def test_a_model_that_a_later_run_has_removed_is_reported_too(leave_run, tmp_path):
    first = leave_run("first", 0.9, name="other")
    shutil.rmtree(tmp_path / "out" / "other")
    leave_run("second", 0.2)
    with pytest.raises(CheckpointError, match="now has another run, started second"):
        find_checkpoint(first)


def test_a_folder_that_was_moved_is_still_its_runs_own(leave_run, tmp_path):
    first = leave_run("first", 0.9)
    moved = shutil.copytree(tmp_path / "out", tmp_path / "moved")
    beside = Path(shutil.copy(first, moved / "mine.json"))
    leave_run("second", 0.2)
    for source in (moved, moved / RESULTS_COPY, beside):
        assert learning_curves(source)["val_char_accuracy"].tolist() == [0.9, 0.9]
        assert page(source, tmp_path / "report")["rungs"] == [9]
    for source in (moved / RESULTS_COPY, beside):
        assert find_checkpoint(source) == moved / "one" / "checkpoints" / "best_model.pt"


def test_a_folder_without_a_results_file_of_its_own_is_nobody_elses(leave_run, tmp_path):
    first = leave_run("first", 0.9)
    (tmp_path / "out" / RESULTS_COPY).unlink()
    assert len(learning_curves(first)) == 2
    assert find_checkpoint(first).read_text() == "first"


def test_a_run_that_is_gone_on_with_is_the_same_run(tmp_path):
    experiments = {"one": {"training": {"num_epochs": 2}}}
    space = read_space({"experiments": experiments}, "space.yaml", output_dir=str(tmp_path))
    for number, began in enumerate(("first", "later")):
        run = Run(tmp_path, TuneOptions(), RunCopy(None, tmp_path), began, tmp_path / "r.json")
        run.start(space, KnownPoints(), resuming=bool(number))
        run.save_state()
        run.save_results()
        run.journal.close()
        document = read_document(tmp_path / RESULTS_COPY)[1]
        assert document["timestamp"] == "first" and not taken(tmp_path, document)


@pytest.mark.parametrize("folder", [1e-06, None, ["x"], {}])
def test_a_config_with_no_text_as_its_folder_names_none(tmp_path, folder):
    document = {"all_results": [{"config": {"output_dir": folder}}], "timestamp": "now"}
    assert list(run_folders(tmp_path / "r.json", document)) == []
