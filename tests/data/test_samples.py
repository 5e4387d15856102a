import re

import pytest
import yaml

from raytune_ocr.config.environment import parse_value
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import create_dataset, load_split
from tests.fixtures.labelled import message, picture, table


@pytest.mark.parametrize(
    ("label", "rule"),
    [("12a", "only the digits"), ("123456789", "at most 8"), ("", "at least one")],
)
def test_a_bad_label_is_reported_with_its_line(tmp_path, label, rule):
    picture(tmp_path / "a.png")
    path = table(tmp_path, [("a.png", "1"), ("a.png", label)])
    output = message(path)
    assert f"{path}: line 3" in output and rule in output


def test_a_bad_label_in_metadata_is_reported_with_its_number(tmp_path):
    path = tmp_path / "metadata.yaml"
    path.write_text("train: {samples: [{image_path: a.png, label: x1}]}\n")
    assert f"{path}: train.samples[0]" in message(path)


@pytest.mark.parametrize("where", ["../secret.png", "/etc/hostname"])
def test_a_path_that_leaves_its_folder_is_refused_unless_allowed(tmp_path, monkeypatch, where):
    monkeypatch.chdir(picture(tmp_path / "work" / "a.png").parent)
    picture(tmp_path / "secret.png")
    path = table(tmp_path / "data", [(where, "1", "train")], ("file", "label", "split"))
    output = message(path)
    assert repr(where) in output and "--allow-outside" in output
    if where.startswith(".."):
        assert len(load_split(path, "train", allow_outside=True)) == 1
        options = parse_value("dataset_options", re.search(r"dataset_options=(.*)'", output)[1])
        config = TrainingConfig(metadata_path=str(path), val_split="train", dataset_options=options)
        assert len(create_dataset(config).splits["train"]) == 1


def test_a_link_that_leaves_its_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(picture(tmp_path / "work" / "a.png").parent)
    target = picture(tmp_path / "secret.png")
    data = tmp_path / "data"
    data.mkdir()
    (data / "link.png").symlink_to(target)
    path = table(data, [("link.png", "1", "train")], ("file", "label", "split"))
    assert "must be in the data folder" in message(path)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 300 + ".png"])
def test_a_name_that_no_file_can_have_is_reported_with_its_line(tmp_path, name):
    output = message(metadata_of(tmp_path, name))
    assert "train.samples[0]" in output
    assert "must name a file" in output


def metadata_of(folder, name):
    path = folder / "metadata.yaml"
    content = {"train": {"samples": [{"image_path": name, "label": "1"}]}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_name_in_another_form_of_unicode_is_found(tmp_path):
    picture(tmp_path / "e\u0301.png")
    path = table(tmp_path, [("\u00e9.png", "1", "train")], ("file", "label", "split"))
    assert len(load_split(path)) == 1
