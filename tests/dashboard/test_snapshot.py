import json

import pytest

from raytune_ocr.dashboard.snapshot import RunSnapshot, folder_of, snapshots
from raytune_ocr.errors import DataNotFoundError
from raytune_ocr.results.decision import EXPLOIT, PAUSE, Decision
from raytune_ocr.results.document import RESULTS_COPY
from raytune_ocr.results.journal import STATE_FILE, Journal
from raytune_ocr.results.steering.orders import entry_of, new_order
from tests.fixtures.records import record_of, searched_run, trial


def by_name(document):
    names = [column["id"] for column in document["columns"]]
    return {row[0]: dict(zip(names, row, strict=True)) for row in document["trials"]}


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path)
    journal.rewrite({}, {"id": "a", "scheduler": "asha"})
    yield journal
    journal.close()


def append(journal, number, score, decisions=(), **settings):
    record = trial(journal.path.parent, number, score, **settings)
    journal.append(record, decisions)
    return record


def test_rows_have_the_settings_that_differ_and_the_metrics_of_the_best_epoch(journal, tmp_path):
    append(journal, 0, 0.5, learning_rate=0.1)
    append(journal, 1, 0.9, learning_rate=0.2)
    (run,) = snapshots([tmp_path])
    document = run.document()
    rows = by_name(document)
    settings = [each["id"] for each in document["columns"] if each["kind"] == "setting"]
    assert settings == ["settings.learning_rate"]
    assert rows["trial_1"]["settings.learning_rate"] == 0.2
    assert rows["trial_1"]["score"] == rows["trial_1"]["metrics.val_char_accuracy"] == 0.9
    assert (document["metric"], document["mode"]) == ("val_char_accuracy", "max")
    assert document["about"]["scheduler"] == "asha"


def test_the_page_gets_only_what_changed_since_it_asked(journal, tmp_path):
    record = append(journal, 0, 0.5)
    run = RunSnapshot(tmp_path)
    run.refresh()
    known = run.version
    assert by_name(run.document(known)) == {} and run.curves("val_loss", known) == {}
    append(journal, 1, 0.9)
    run.refresh()
    assert list(by_name(run.document(known))) == ["trial_1"]
    assert list(run.curves("val_loss", known)) == ["trial_1"]
    known = run.version
    record.config.learning_rate = 0.7
    append(journal, 2, 0.1, learning_rate=0.7)  # now a setting differs: all rows have a column more
    run.refresh()
    assert len(by_name(run.document(known))) == 3


def test_pauses_and_parents_come_from_the_decisions(journal, tmp_path):
    append(journal, 0, 0.5, [Decision("halving", "trial_0", 2, PAUSE)])
    state = {"parent": "trial_0", "replaces": "x", "settings": {}}
    append(journal, 1, 0.6, [Decision("pbt", "trial_1", 2, EXPLOIT, state)])
    (run,) = snapshots([tmp_path])
    assert run.curves("val_loss")["trial_0"]["pauses"] == [2]
    assert by_name(run.document())["trial_1"]["parent"] == "trial_0"
    assert run.document()["rungs"] == [2]


def test_configs_that_a_journal_of_an_earlier_version_lacks_come_from_the_results(tmp_path):
    folder = searched_run(tmp_path / "run")
    state = folder / STATE_FILE
    lines = [json.loads(line) for line in state.read_text("utf-8").splitlines()]
    for line in lines:
        line.pop("digest", None)
        line.pop("config", None)
    state.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    (run,) = snapshots([folder])
    rows = by_name(run.document())
    assert rows["trial_7"]["score"] == pytest.approx(0.85)
    assert rows["trial_7"]["settings.learning_rate"] == pytest.approx(0.008)


def test_an_order_may_pause_a_trial_too(journal, tmp_path):
    append(journal, 0, 0.5, [entry_of(new_order("pause", "trial_0"), epoch=1)])
    (run,) = snapshots([tmp_path])
    assert run.curves("val_loss")["trial_0"]["pauses"] == [1]


def test_a_document_is_json_without_nan(journal, tmp_path):
    append(journal, 0, float("nan"))
    (run,) = snapshots([tmp_path])
    json.dumps([run.document(), run.curves("val_char_accuracy")], allow_nan=False)


def test_results_without_a_journal_are_shown_from_their_json_and_tables(tmp_path):
    folder = searched_run(tmp_path / "run")
    (folder / STATE_FILE).unlink()
    (run,) = snapshots([folder])
    rows = by_name(run.document())
    assert len(rows) == 9 and rows["trial_8"]["status"] == "failed"
    assert "<loss>" in rows["trial_8"]["error"]
    assert rows["trial_7"]["score"] == pytest.approx(0.85)
    assert run.curves("val_loss")["trial_7"]["epoch"] == [1, 2, 3]


def test_the_run_of_a_results_file_is_found_beside_it(tmp_path):
    folder = searched_run(tmp_path / "run")
    assert folder_of(folder / RESULTS_COPY) == folder == folder_of(folder)


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(DataNotFoundError, match="contains neither"):
        RunSnapshot(tmp_path)


def test_a_run_that_has_not_begun_is_empty_until_it_begins(tmp_path):
    (run,) = snapshots([tmp_path / "later"], wait=True)
    assert run.document()["trials"] == [] and run.version == 0
    Journal(tmp_path / "later").path.parent.mkdir()
    journal = Journal(tmp_path / "later")
    journal.rewrite({}, {"id": "a"})
    append(journal, 0, 0.5)
    run.refresh()
    assert list(by_name(run.document())) == ["trial_0"]
    journal.close()


def test_the_results_that_a_run_ends_with_are_news(tmp_path):
    folder = searched_run(tmp_path / "run")
    written = (folder / RESULTS_COPY).read_text("utf-8")
    (folder / RESULTS_COPY).unlink()
    (run,) = snapshots([folder])
    known = run.version
    run.refresh()
    assert run.version == known and run.document(known)["results"] == {}
    (folder / RESULTS_COPY).write_text(written, "utf-8")
    run.refresh()
    assert run.version == known + 1
    assert run.document(known)["results"]["targets"] and run.document(known)["trials"] == []


def test_a_trial_that_was_stopped_before_its_first_epoch_does_not_wait(tmp_path):
    journal = Journal(tmp_path)
    names = ("waits", "stopped")
    journal.rewrite({name: record_of(name, (), "pending") for name in names}, {})
    journal.append_decisions([entry_of(new_order("stop", "stopped"))])
    journal.close()
    (run,) = snapshots([tmp_path])
    states = {name: row["status"] for name, row in by_name(run.document()).items()}
    assert states == {"waits": "pending", "stopped": "stopped"}


def test_runs_of_folders_with_the_same_name_are_told_apart(tmp_path):
    folders = [searched_run(made(tmp_path / name) / "training_output") for name in ("a", "b")]
    assert [run.name for run in snapshots(folders)] == ["a/training_output", "b/training_output"]
    (alone,) = snapshots(folders[:1])
    assert alone.name == "training_output"
    assert {run.name for run in snapshots([folders[0]] * 2)} == {"training_output"}


def made(folder):
    folder.mkdir()
    return folder


def test_a_log_is_that_of_a_trial_of_the_run_and_of_nothing_else(journal, tmp_path):
    append(journal, 0, 0.5)
    (run,) = snapshots([tmp_path])
    assert run.log("trial_0") == ""
    (tmp_path / "trial_0" / "logs").mkdir(parents=True)
    (tmp_path / "trial_0" / "logs" / "error.log").write_text("Traceback")
    assert run.log("trial_0") == "Traceback"
    for name in ("..", "../other", "/etc", "trial_9"):
        with pytest.raises(DataNotFoundError, match="no trial"):
            run.log(name)
