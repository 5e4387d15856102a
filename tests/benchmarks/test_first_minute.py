from pathlib import Path

import pytest

from benchmarks import first_minute
from benchmarks.first_minute import HERE, Result, measure


def test_revisions_take_turns_and_the_share_is_of_their_seconds(tmp_path):
    turns = []

    def work(source, folder):
        assert list(folder.iterdir()) == []
        turns.append(source.name)
        return Result(2.0 if source.name == "new" else 4.0, 0.9, None)

    row = measure("job", work, {HERE: Path("new"), "v1": Path("old")}, 2, tmp_path)
    assert turns == ["old", "new", "new", "old"]
    assert row["share of v1"] == 0.5
    assert (row["here, s"], row["here, char"], row["here, seq"]) == (2.0, 0.9, None)


def test_fewer_images_and_epochs_are_asked_of_both_jobs(tmp_path):
    works = first_minute.commands(tmp_path, 64, 2)
    assert "num_epochs=2" in works["default job"].args[0]
    assert any("composed: 64" in word for word in works["quick"].args[0])
    as_shipped = first_minute.commands(tmp_path, None, None)
    assert as_shipped["default job"].args[0] == ["--data", str(tmp_path)]


def test_a_command_that_fails_is_shown_with_what_it_printed(tmp_path):
    with pytest.raises(SystemExit, match=r"raytune_ocr\.generate .*failed:\n(.|\n)*--num-samples"):
        first_minute.run(first_minute.ROOT, tmp_path, "raytune_ocr.generate", "--num-samples=x")
