"""A run that continues elsewhere: other data are refused, other versions and devices named."""

import platform
import subprocess
import sys

import numpy as np
import pytest

from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data.datasets.base import ImageDataset, LabelledImages
from raytune_ocr.errors import ConfigurationError
from raytune_ocr.results.record import TrialRecord
from raytune_ocr.tune.execution.circumstances import (
    CODE,
    COMMAND,
    DATA,
    MadeWith,
    check_data,
    code_fingerprints,
    data_fingerprints,
    git_state,
    made_with,
    note_command,
    versions,
    warn_of_edited_code,
)

NOW = {"torch": "2.6.0", "ray": "2.60.0", "device": "cpu"}


class Arrays(ImageDataset):
    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels

    def _read(self):
        split = LabelledImages(self.images, self.labels)
        return split, split


def test_what_a_trial_is_made_with_names_versions_and_the_device():
    output = made_with(TrialRecord(TrainingConfig(device="cpu")).config)
    assert output == {**versions(), "device": "cpu", "node": platform.node()}
    assert {"raytune_ocr", "torch", "ray", "numpy", "python"} <= set(output)


def test_other_versions_and_devices_are_reported_once(caplog):
    earlier = TrialRecord(TrainingConfig(), made_with=NOW)
    seen = MadeWith([earlier])
    seen.note("a", NOW)
    assert not caplog.records
    for name in ("b", "c"):
        seen.note(name, {**NOW, "torch": "2.7.0", "device": "NVIDIA H200"})
    (found,) = (record.getMessage() for record in caplog.records)
    assert found.startswith("b: trained with other versions or devices")
    assert "torch 2.7.0 (before: 2.6.0), device NVIDIA H200 (before: cpu)" in found


def test_another_node_with_the_same_versions_is_no_news(caplog):
    seen = MadeWith([TrialRecord(TrainingConfig(), made_with={**NOW, "node": "one"})])
    seen.note("b", {**NOW, "node": "two"})
    assert not caplog.records


def test_each_part_of_a_run_notes_its_command_without_secrets(monkeypatch):
    facts = {COMMAND: [{"command": "earlier"}]}
    words = ["python", "-m", "tune", "--storage", "s3://id:secret@bucket/run"]
    monkeypatch.setattr(sys, "orig_argv", words)
    note_command(facts)
    first, now = facts[COMMAND]
    assert first == {"command": "earlier"}
    assert now["command"].startswith("python -m tune") and "secret" not in now["command"]
    assert now["user"] and now["host"] == platform.node() and now["began"] > 0


def test_a_commit_is_noted_with_whether_files_differ_from_it(tmp_path):
    assert git_state(tmp_path) == {}
    file = tmp_path / "a.txt"
    file.write_text("1")
    for words in (
        ["init", "-q"],
        ["add", "a.txt"],
        ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    state = git_state(tmp_path)
    assert len(state["git_commit"]) == 40 and not state["git_changes"]
    file.write_text("2")
    assert git_state(tmp_path) == {**state, "git_changes": True}


def test_a_hash_of_data_tells_their_content_and_not_their_place():
    images = np.arange(24, dtype=np.uint8).reshape(2, 1, 3, 4)
    labels = np.array([0, 1])
    same = Arrays(images, labels).fingerprint()
    assert same == Arrays(images.copy(), labels.copy()).fingerprint()
    changed = images.copy()
    changed[1, 0, 2, 3] ^= 1
    others = [Arrays(changed, labels), Arrays(images, labels[::-1]), Arrays(images[:1], labels[:1])]
    assert same not in [one.fingerprint() for one in others]


def test_data_are_asked_by_way_of_the_task_and_may_know_no_hash():
    record = TrialRecord(TrainingConfig(metadata_path="d"))
    key = '[["khmer_digits", {}, "d", "train", "val"]]'.strip("[]")
    images = np.zeros((1, 1, 2, 2), np.uint8)
    for dataset, known in ((Arrays(images, np.array([0])), True), (object(), False)):
        found = data_fingerprints([record], {f"[{key}]": dataset})
        assert list(found) == (["d"] if known else [])


def test_only_data_that_the_run_has_trained_on_are_accepted():
    facts = {DATA: [{"fingerprints": {"d": "1", "e": "2"}}]}
    check_data(facts, {"moved/d": "1"})
    check_data({}, {"d": "3"})  # a run from before this was kept
    with pytest.raises(ConfigurationError, match=r"got d with other images.*--data PATH.*--output"):
        check_data(facts, {"d": "3", "e": "2"})


def test_source_that_was_edited_is_logged_and_the_newest_counts(caplog):
    facts = {CODE: [{"fingerprints": {"m:f": "one"}}, {"fingerprints": {"m:f": "two"}}]}
    warn_of_edited_code(facts, {"m:f": "two", "m:g": "new"})
    warn_of_edited_code({}, {"m:f": "two"})
    assert not caplog.records
    warn_of_edited_code(facts, {"m:f": "one"})
    assert "--resume: the source of m:f has changed since" in caplog.text


def test_only_code_of_ones_own_has_a_fingerprint():
    home = "tests.fixtures.own_training"
    own = TrainingConfig(trainable=f"{home}:finetune", imports=[home])
    found = code_fingerprints([TrialRecord(TrainingConfig()), TrialRecord(own)])
    assert list(found) == [f"{home}:finetune"]
