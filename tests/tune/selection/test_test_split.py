from pathlib import Path

import pytest

from raytune_ocr.results.journal import Journal
from raytune_ocr.tasks.reader import ReaderTask
from raytune_ocr.tune.selection.test_split import figures_of, read_test_split
from tests.fixtures.records import record_of


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path)
    opened.rewrite({}, {"timestamp": "now", "results_file": "results.json"})
    return opened


def winner(folder):
    record = record_of()
    record.config.output_dir = str(folder)
    checkpoint = folder / "one" / "checkpoints" / "best_model.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    return record


def test_a_winner_reads_the_test_split_once_and_a_resume_knows_what_it_read(
    journal, tmp_path, monkeypatch
):
    read = []

    def reads(task, config, checkpoint, best, allow_outside):
        read.append((Path(checkpoint).name, best["epoch"], allow_outside))
        return {"test_char_accuracy": 0.5}

    monkeypatch.setattr(ReaderTask, "read_test_split", reads)
    best = winner(tmp_path)
    for _ in range(2):
        read_test_split(journal, best, True)
    assert read == [("best_model.pt", 2, True)]
    assert figures_of(journal) == {"one": {"test_char_accuracy": 0.5}}
    journal.close()
    again = Journal(tmp_path)
    again.load({})
    assert figures_of(again) == figures_of(journal)


def test_without_a_model_or_a_test_split_nothing_is_kept(journal, tmp_path, monkeypatch):
    monkeypatch.setattr(ReaderTask, "read_test_split", lambda *_: {})
    for best in (None, record_of(), winner(tmp_path)):
        read_test_split(journal, best, False)
    assert figures_of(journal) == {}
