import json
import os

import pytest

from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.document import results_document, write_json
from raytune_ocr.tune.search.library import MOST_STUDIES, add_to_library, read_library
from raytune_ocr.tune.tuner import HyperparameterTuner
from tests.fixtures.simulated import records_of

SEARCH = {"num_samples": 3, "training": {"learning_rate": {"loguniform": [1e-4, 1e-2]}}}


def write_run(folder, score=0.5):
    """A finished run: its results JSON beside its table of epochs."""
    records = records_of({"found": SEARCH}).initial()
    rows = ["experiment_name,epoch,val_char_accuracy"]
    for record in records:
        record.status, record.stop_reason = "completed", "max_epochs"
        for epoch in (1, 2):
            row = {"epoch": epoch, "val_char_accuracy": score * epoch / 2, "val_seq_accuracy": 0.0}
            record.epochs.append({**row, "seconds": 1.0, "train_loss": 1.0})
            rows.append(f"{record.name},{epoch},{score * epoch / 2}")
    folder.mkdir()
    (folder / "epochs.csv").write_text("\n".join(rows) + "\n")
    write_json(folder / "results.json", results_document(records, {}, "t"))
    return folder / "results.json"


def test_a_run_is_collected_with_its_curves_and_read_again(tmp_path):
    library = tmp_path / "library"
    assert read_library(library) == []  # before the first run
    add_to_library(library, "one", write_run(tmp_path / "out"))
    points = read_library(library)
    assert [point.curve for point in points] == [{1: 0.25, 2: 0.5}] * 3
    assert {point.name for point in points} == {"found_0001", "found_0002", "found_0003"}


def test_a_resumed_run_is_there_once(tmp_path):
    results = write_run(tmp_path / "out")
    for _ in range(2):
        add_to_library(tmp_path / "library", "one", results)
    assert len(read_library(tmp_path / "library")) == 3


def test_foreign_and_damaged_files_are_named_and_skipped(tmp_path, caplog):
    library = tmp_path / "library"
    add_to_library(library, "good", write_run(tmp_path / "out"))
    damaged = {
        "empty.json": "",
        "list.json": "[1]",
        "newer.json": '{"version": 99}',
        "entries.json": '{"version": 1, "trials": [{"source": 5}]}',
        "none.json": '{"version": 1, "trials": []}',
        "cut.json": (library / "good.json").read_text()[:90],
        "curve.json": json.dumps(
            {"version": 1, "trials": [{"source": "a", "result": "{}", "won": 0, "curve": "[1]"}]}
        ),
    }
    for name, text in damaged.items():
        (library / name).write_text(text)
    (library / "folder.json").mkdir()
    (library / "picture.png").write_bytes(b"\x89PNG\xff")
    assert len(read_library(library)) == 3
    warned = " ".join(caplog.messages)
    assert all(name in warned for name in [*damaged, "folder.json", "picture.png"])
    assert "good.json" not in warned


def test_the_newest_studies_are_read(tmp_path):
    library = tmp_path / "library"
    for number in range(MOST_STUDIES + 1):
        results = write_run(tmp_path / str(number), score=number / 10)
        add_to_library(library, str(number), results)
        os.utime(library / f"{number}.json", (number, number))
    assert {point.score for point in read_library(library)} == {
        number / 10 for number in range(1, MOST_STUDIES + 1)
    }


def test_a_library_that_is_a_file_is_refused_and_one_that_cannot_be_written_is_a_warning(
    tmp_path, caplog
):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigurationError, match=r"--library: .*must be a readable folder"):
        read_library(file)
    add_to_library(file, "one", write_run(tmp_path / "out"))
    assert "was not added" in caplog.text


SEARCHED = """
experiments:
  found: {num_samples: 8, training: {learning_rate: {loguniform: [1.0e-4, 1.0e-2]}}}
"""


def test_a_run_tries_the_best_of_its_library_first_and_a_resume_what_it_began_with(tmp_path):
    library = tmp_path / "library"
    add_to_library(library, "one", write_run(tmp_path / "one"))
    (tmp_path / "space.yaml").write_text(SEARCHED)

    def begin(**options):
        tuner = HyperparameterTuner(
            str(tmp_path / "space.yaml"),
            output_dir=tmp_path / "out",
            results_file=tmp_path / "r.json",
            **options,
        )
        tuner.runner.train = lambda unfinished, resuming: tuner.run.save_state()
        tuner.run_experiments()
        return [record.sampled["learning_rate"] for record in tuner.records.values()], tuner.run

    rates, run = begin(library=str(library), scheduler="freeze-thaw")
    known = [point.fields["learning_rate"] for point in read_library(library)]
    assert len(rates) == 8 and set(rates[:2]) <= set(known)
    ((*trials,),) = run.study.scheduler.setup.earlier
    assert [trial.curve for trial in trials] == [{1: 0.25, 2: 0.5}] * 3
    add_to_library(library, "two", write_run(tmp_path / "two", score=0.9))
    again, resumed = begin(resume=True)
    assert again == rates and resumed.study.scheduler.setup.earlier == [trials]


def test_results_that_cannot_be_read_are_a_warning_at_the_end_of_a_run(tmp_path, caplog):
    results = tmp_path / "results.json"
    results.write_text("{")
    add_to_library(tmp_path / "library", "id", results)
    assert "--library" in caplog.text and "the run was not added" in caplog.text
