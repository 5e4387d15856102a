import pytest

from raytune_ocr.dashboard.comparison import comparison, facts_of, shown
from raytune_ocr.dashboard.snapshot import snapshots
from raytune_ocr.results.journal import Journal
from tests.fixtures.records import trial


def run(folder, command, rate, score):
    folder.mkdir()
    journal = Journal(folder)
    journal.facts = {
        "command": [{"command": command, "git_commit": "abc"}],
        "data": [{"fingerprints": {"images": "1f"}}],
    }
    best = trial(folder, 1, score, learning_rate=rate)
    other = trial(folder, 0, score / 2, learning_rate=rate)
    journal.rewrite({r.name: r for r in (other, best)}, {"id": command, "scheduler": "asha"})
    journal.close()
    return folder


@pytest.fixture
def runs(tmp_path):
    one = run(tmp_path / "one", "tune a", 0.1, 0.5)
    two = run(tmp_path / "two", "tune b", 0.2, 0.9)
    return snapshots([one, two])


def test_only_what_differs_is_listed_with_a_column_a_run(runs):
    rows = {line.split("  ")[0]: line.split() for line in comparison(runs).splitlines()}
    assert rows["best val_char_accuracy"][-2:] == ["0.5", "0.9"]
    assert rows["settings.learning_rate (best trial)"][-2:] == ["0.1", "0.2"]
    assert rows["command"][-4:] == ["tune", "a", "tune", "b"]
    for same in ("git_commit", "scheduler", "trials", "data images", "best trial"):
        assert same not in rows
    assert any(name.startswith("the same in all runs: ") for name in rows)


def test_facts_are_those_of_the_best_trial_and_the_sums_of_all(runs):
    facts = facts_of(runs[1].document())
    assert facts["best trial"] == "trial_1" and facts["epochs"] == 6 and facts["seconds"] == 12
    assert facts["data images"] == "1f" and facts["git_commit"] == "abc"


def test_a_cell_is_short_and_has_no_terminal_escapes():
    assert shown(None) == "-" == shown("") and shown(1 / 3) == "0.333333"
    assert len(shown("a" * 200)) == 60 and "\x1b" not in shown("\x1b[2J")
