import csv
import logging
import re

import numpy as np
import pytest
import yaml
from PIL import Image

from raytune_ocr.config.environment import parse_value
from raytune_ocr.config.training_config import TrainingConfig
from raytune_ocr.data import create_dataset, load_split, load_splits, to_canvas
from raytune_ocr.errors import DataLoaderError, DataNotFoundError


def picture(path, size=(128, 64), mode="L", value=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new(
        mode, size, value if mode == "L" else (value,) * len(Image.new(mode, (1, 1)).getbands())
    )
    image.save(path)
    return path


def table(folder, rows, header=("file", "label"), name="labels.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return folder / name


def message(path, split="train", **options):
    with pytest.raises(DataLoaderError) as caught:
        load_split(path, split, **options)
    return str(caught.value)


# What loads


def test_a_table_with_splits_loads(tmp_path):
    rows = []
    for number, split in enumerate(["train"] * 3 + ["valid"] * 2):
        picture(tmp_path / f"{number}.png", value=number)
        rows.append((f"{number}.png", "១២", split))
    table(tmp_path, rows, ("file", "label", "split"))
    splits = load_splits(tmp_path)
    assert [len(splits[name]) for name in ("train", "val")] == [3, 2]
    assert splits["val"].texts == ["១២", "១២"]
    assert splits["train"].images[:, 0, 0].tolist() == [0, 1, 2]


def test_a_table_without_splits_is_split_the_same_way_every_time(tmp_path):
    for number in range(200):
        picture(tmp_path / f"{number}.png", value=number)
    path = table(tmp_path, [(f"{n}.png", str(n % 10)) for n in range(200)])
    splits = load_splits(path, ["train", "val", "test"])
    sizes = [len(split) for split in splits.values()]
    assert sizes == pytest.approx([160, 20, 20], abs=10)
    seen = np.concatenate([split.images[:, 0, 0] for split in splits.values()])
    assert sorted(seen.tolist()) == list(range(200))
    again = load_splits(path, ["val"])["val"]
    assert np.array_equal(again.images, splits["val"].images)


def test_a_folder_per_class_loads_with_ascii_or_khmer_names(tmp_path):
    for split in ("train", "valid"):
        for name in ("3", "៧"):
            picture(tmp_path / split / name / "a.png", size=(28, 28))
    splits = load_splits(tmp_path)
    assert splits["train"].texts == splits["val"].texts == ["៣", "៧"]


def test_the_original_generators_file_loads(tmp_path, monkeypatch):
    """Inline samples, tuples, and paths relative to the working folder or to the file."""
    data = tmp_path / "generated_data"
    picture(data / "images" / "a.png", size=(130, 60), mode="RGB")
    picture(data / "images" / "b.png", size=(100, 64))
    (data / "metadata.yaml").write_text(
        "dataset_info:\n  image_size: !!python/tuple [128, 64]\n"
        "train:\n  num_samples: 1\n  samples:\n"
        "  - {image_path: generated_data/images/a.png, label: ០១២, font: x,"
        " size: !!python/tuple [1, 2]}\n"
        "val:\n  samples:\n  - {image_path: images/b.png, label: '៣'}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    splits = load_splits(data / "metadata.yaml")
    assert (splits["train"].texts, splits["val"].texts) == (["០១២"], ["៣"])


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "1", "LA", "CMYK"])
def test_images_of_any_mode_and_size_become_a_canvas(tmp_path, mode):
    image = Image.new("L", (33, 50), 200)
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    (image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)).save(path)
    with Image.open(path) as opened:
        canvas = to_canvas(opened)
    assert canvas.shape == (64, 128) and canvas.dtype == np.uint8


def test_an_image_keeps_its_proportions_on_the_colour_of_its_border():
    image = Image.new("L", (28, 28), 240)
    image.paste(0, (10, 10, 18, 18))
    canvas = to_canvas(image)
    rows, columns = np.nonzero(canvas < 120)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1
    assert (canvas[:, :20] == 240).all()


def test_a_right_sized_image_is_left_as_it_is():
    pixels = np.arange(64 * 128, dtype=np.uint32).reshape(64, 128).astype(np.uint8)
    assert np.array_equal(to_canvas(Image.fromarray(pixels)), pixels)


# What does not


def test_a_missing_path_is_told(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such data file or folder"):
        load_split(tmp_path / "absent")


def test_an_unknown_split_lists_those_there_are(tmp_path):
    picture(tmp_path / "a.png")
    table(tmp_path, [("a.png", "1", "train")], ("file", "label", "split"))
    assert "unknown split 'val' (known: train)" in message(tmp_path, "val")


@pytest.mark.parametrize(
    ("label", "rule"),
    [("12a", "only the digits"), ("123456789", "at most 8"), ("", "at least one")],
)
def test_a_bad_label_is_told_with_its_line(tmp_path, label, rule):
    picture(tmp_path / "a.png")
    path = table(tmp_path, [("a.png", "1"), ("a.png", label)])
    told = message(path)
    assert f"{path}: line 3" in told and rule in told


def test_a_bad_label_in_metadata_is_told_with_its_number(tmp_path):
    path = tmp_path / "metadata.yaml"
    path.write_text("train: {samples: [{image_path: a.png, label: x1}]}\n")
    assert f"{path}: train.samples[0]" in message(path)


def test_a_table_without_its_columns_is_told(tmp_path):
    path = table(tmp_path, [("a", "b")], ("name", "value"))
    told = message(path)
    assert f"{path}: line 1: must name the columns file,label[,split]" in told
    assert "comma, semicolon, tab or |" in told and "got ['name', 'value']" in told


@pytest.mark.parametrize("where", ["../secret.png", "/etc/hostname"])
def test_a_path_that_leaves_its_folder_is_refused_unless_allowed(tmp_path, monkeypatch, where):
    monkeypatch.chdir(picture(tmp_path / "work" / "a.png").parent)
    picture(tmp_path / "secret.png")
    path = table(tmp_path / "data", [(where, "1", "train")], ("file", "label", "split"))
    told = message(path)
    assert repr(where) in told and "--allow-outside" in told
    if where.startswith(".."):
        assert len(load_split(path, "train", allow_outside=True)) == 1
        options = parse_value("dataset_options", re.search(r"dataset_options=(.*)'", told)[1])
        config = TrainingConfig(metadata_path=str(path), val_split="train", dataset_options=options)
        assert len(create_dataset(config).splits["train"]) == 1


def test_a_link_that_leaves_its_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(picture(tmp_path / "work" / "a.png").parent)
    target = picture(tmp_path / "secret.png")
    data = tmp_path / "data"
    data.mkdir()
    (data / "link.png").symlink_to(target)
    path = table(data, [("link.png", "1", "train")], ("file", "label", "split"))
    assert "must lie in the data's folder" in message(path)


def with_bad_images(tmp_path, good, bad):
    rows = []
    for number in range(good):
        picture(tmp_path / f"{number}.png")
        rows.append((f"{number}.png", "1", "train"))
    for number in range(bad):
        (tmp_path / f"bad{number}.png").write_bytes(b"no image")
        rows.append((f"bad{number}.png", "1", "train"))
    return table(tmp_path, rows, ("file", "label", "split"))


def test_more_than_one_percent_of_bad_images_is_an_error_that_names_them(tmp_path):
    told = message(with_bad_images(tmp_path, good=98, bad=2))
    assert "at most 1 %" in told and "got 2 of 100" in told
    assert "bad0.png" in told and "bad1.png" in told


def test_fewer_bad_images_are_skipped_named_and_counted(tmp_path, caplog):
    path = with_bad_images(tmp_path, good=100, bad=1)
    with caplog.at_level(logging.WARNING):
        assert len(load_split(path, "train")) == 100
    assert "bad0.png" in caplog.text and "skipped 1 of 101" in caplog.text


def test_a_missing_image_is_named(tmp_path):
    path = table(tmp_path, [("gone.png", "1", "train")], ("file", "label", "split"))
    told = message(path)
    assert "gone.png: no such image" in told and "line 2" in told


def test_an_empty_split_is_an_error(tmp_path):
    path = tmp_path / "metadata.yaml"
    path.write_text("train: {samples: []}\n")
    assert "train: must hold at least one image" in message(path)


def test_a_folder_with_foreign_class_names_is_told(tmp_path):
    picture(tmp_path / "1" / "a.png")
    picture(tmp_path / "cat" / "a.png")
    assert "named 0-9" in message(tmp_path) and "'cat'" in message(tmp_path)


def test_a_folder_of_nothing_that_is_known_is_told(tmp_path):
    assert "must hold metadata.yaml, labels.csv or folders" in message(tmp_path)


@pytest.mark.parametrize(
    "text", ["a: [\n", "- 1\n", "train: 3\n", "train: {samples: 3}\n", "train: {samples: [3]}\n"]
)
def test_metadata_that_breaks_a_rule_is_told(tmp_path, text):
    path = tmp_path / "metadata.yaml"
    path.write_text(text)
    assert str(path) in message(path)


def test_metadata_is_never_unpickled(tmp_path):
    path = tmp_path / "metadata.yaml"
    path.write_text("train: !!python/object/apply:os.getcwd []\n")
    assert "not valid YAML" in message(path)


# What people's folders look like


def test_zeros_in_front_of_a_label_stay(tmp_path):
    picture(tmp_path / "a.png")
    samples = "train:\n  samples:\n  - {image_path: a.png, label: 012}\n"
    (tmp_path / "metadata.yaml").write_text(samples, encoding="utf-8")
    assert load_split(tmp_path).texts == ["០១២"]


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 300 + ".png"])
def test_a_name_that_no_file_can_have_is_told_with_its_line(tmp_path, name):
    told = message(metadata_of(tmp_path, name))
    assert "train.samples[0]" in told
    assert "must name a file" in told


def metadata_of(folder, name):
    path = folder / "metadata.yaml"
    content = {"train": {"samples": [{"image_path": name, "label": "1"}]}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_hidden_files_and_folders_are_not_data(tmp_path):
    for split in ("train", "valid"):
        picture(tmp_path / split / "3" / "a.png", size=(28, 28))
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "3" / "._a.png").write_bytes(b"not an image")
    assert load_split(tmp_path).texts == ["៣"]


def test_two_spellings_of_one_split_are_read_together(tmp_path):
    for number, split in enumerate(("train", "val", "valid")):
        picture(tmp_path / split / str(number) / "a.png")
    assert load_split(tmp_path, "val").texts == ["១", "២"]


def test_a_file_in_two_splits_or_with_two_labels_is_an_error_with_both_lines(tmp_path):
    picture(tmp_path / "a.png")
    header = ("file", "label", "split")
    told = message(table(tmp_path, [("a.png", "1", "train"), ("./a.png", "1", "test")], header))
    assert "line 3" in told and "line 2" in told and "one split, got train" in told
    told = message(table(tmp_path, [("a.png", "1", "train"), ("a.png", "2", "train")], header))
    assert "one label, got ១" in told


def test_a_file_that_is_listed_twice_stays_in_one_split_and_is_told(tmp_path, caplog):
    for number in range(20):
        picture(tmp_path / f"{number}.png", value=number)
    path = table(tmp_path, [(f"{n % 20}.png", str(n % 10)) for n in range(60)])
    splits = load_splits(path, ["train", "val", "test"])
    levels = [set(split.images[:, 0, 0].tolist()) for split in splits.values()]
    assert sum(map(len, levels)) == 20 and sum(map(len, splits.values())) == 60
    assert "40 rows name a file that an earlier row names" in caplog.text


@pytest.mark.parametrize("name", ["Validation", "Val", "dev", "valid"])
def test_a_folder_of_a_split_is_known_by_any_usual_name(tmp_path, name):
    picture(tmp_path / "Train" / "3" / "a.png", value=1)
    picture(tmp_path / name / "3" / "b.png", value=2)
    assert load_split(tmp_path, "val").images[0, 0, 0] == 2


def test_a_folder_that_looks_like_a_split_and_is_none_is_an_error(tmp_path):
    picture(tmp_path / "train" / "3" / "a.png")
    picture(tmp_path / "vaildation" / "3" / "b.png")
    assert "vaildation: looks like a split and is none" in message(tmp_path)


def test_what_is_used_and_what_is_passed_over_is_told(tmp_path, caplog):
    for split in ("train", "val"):
        picture(tmp_path / split / "3" / "deep" / "a.jfif.png", value=7)
        picture(tmp_path / split / "loose.png")
    picture(tmp_path / "old" / "b.png")
    (tmp_path / "train" / "3" / "c.heic").touch()
    with caplog.at_level(logging.INFO):
        load_splits(tmp_path)
    assert "images: train 1 (៣ 1), val 1 (៣ 1)" in caplog.text
    assert "2 not used, since they are in no class folder" in caplog.text
    assert "old is no split" in caplog.text and "c.heic" in caplog.text
    assert "1 of 1 images are blank" in caplog.text


def test_a_table_in_a_folder_tells_which_images_it_does_not_name(tmp_path, caplog):
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.png")
    table(tmp_path, [("a.png", "1", "train"), ("b.png", "2", "val")], ("file", "label", "split"))
    load_splits(tmp_path)
    assert "since labels.csv does not name them" in caplog.text and "c.png" in caplog.text
    assert "train holds none of the digits ២" in caplog.text


def test_a_name_in_another_form_of_unicode_is_found(tmp_path):
    picture(tmp_path / "e\u0301.png")
    path = table(tmp_path, [("\u00e9.png", "1", "train")], ("file", "label", "split"))
    assert len(load_split(path)) == 1
