from raytune_ocr.dashboard.journal_tail import JournalTail
from raytune_ocr.results.decision import CONTINUE, Decision
from raytune_ocr.results.journal import Journal
from tests.fixtures.records import record_of


def test_a_missing_journal_has_nothing_new(tmp_path):
    assert JournalTail(tmp_path).read() == ([], False)


def test_only_new_entries_are_read_and_a_cut_line_waits_for_its_end(tmp_path):
    journal, tail = Journal(tmp_path), JournalTail(tmp_path)
    journal.rewrite({}, {"id": "a"})
    entries, restarted = tail.read()
    assert restarted and [list(each) for each in entries] == [["run"]]
    assert tail.read() == ([], False)
    journal.append_decisions([Decision("asha", "one", 2, CONTINUE)])
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-5])
    assert tail.read() == ([], False)
    journal.path.write_bytes(whole)
    entries, restarted = tail.read()
    assert not restarted and entries[0]["decisions"][0]["trial"] == "one"


def test_a_rewritten_journal_is_read_from_its_start(tmp_path):
    journal, tail = Journal(tmp_path), JournalTail(tmp_path)
    journal.rewrite({}, {"id": "a"})
    tail.read()
    journal.rewrite({"one": record_of()}, {"id": "a"})
    entries, restarted = tail.read()
    assert restarted and [next(iter(each)) for each in entries] == ["run", "trial"]
    assert tail.restarts == 2


def test_damaged_lines_are_counted_and_skipped(tmp_path):
    journal, tail = Journal(tmp_path), JournalTail(tmp_path)
    journal.rewrite({}, {"id": "a"})
    with journal.path.open("ab") as file:
        file.write(b'{"trial": "one"}\n')
    journal.append_fact("known", {})
    entries, _ = tail.read()
    assert len(entries) == 2 and tail.damaged == 1
