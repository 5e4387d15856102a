"""Temporary folders of processes that live, ended or were killed."""

import subprocess
import sys

import pytest

from raytune_ocr.tune.storage.scratch import OWNER, owned, remove_ownerless

HOLD = """
import sys
from pathlib import Path
from raytune_ocr.tune.storage.scratch import owned
with owned(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "raytune_ocr_x"
    (made / "a").mkdir(parents=True)
    (made / "a" / "state").write_text("1")
    return made


def test_the_folder_of_a_killed_process_is_removed_but_not_that_of_a_living_one(folder, tmp_path):
    words = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    assert remove_ownerless(tmp_path.iterdir()) == [] and (folder / "a" / "state").exists()
    process.kill()
    process.wait()
    assert remove_ownerless(tmp_path.iterdir()) == [folder] and not folder.exists()
    process.stdin.close()
    process.stdout.close()


def test_a_folder_that_was_held_here_is_free_after_the_block(folder, tmp_path):
    with owned(folder):
        assert remove_ownerless([folder]) == []
    assert remove_ownerless([folder]) == [folder]


def test_folders_without_a_mark_links_and_marks_that_are_about_to_be_locked_stay(folder, tmp_path):
    assert remove_ownerless([folder, tmp_path / "nothing"]) == []
    (folder / OWNER).touch()
    assert remove_ownerless([folder]) == []
    (folder / OWNER).write_text("\n")
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert remove_ownerless([link]) == [] and folder.exists()
