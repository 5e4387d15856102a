import logging

import numpy as np
import pytest
from PIL import Image

from raytune_ocr.data import load_split, load_splits, to_canvas
from raytune_ocr.errors import DataLoaderError, DataNotFoundError
from tests.fixtures.labelled import message, picture, table

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


def test_a_missing_path_is_reported(tmp_path):
    with pytest.raises(DataNotFoundError, match="no such data file or folder"):
        load_split(tmp_path / "absent")


def test_an_unknown_split_lists_those_there_are(tmp_path):
    picture(tmp_path / "a.png")
    table(tmp_path, [("a.png", "1", "train")], ("file", "label", "split"))
    assert "unknown split 'val' (known: train)" in message(tmp_path, "val")
    with pytest.raises(KeyError) as raised:
        load_split(tmp_path, "val")
    assert isinstance(raised.value, DataLoaderError)


def test_a_table_without_its_columns_is_reported(tmp_path):
    path = table(tmp_path, [("a", "b")], ("name", "value"))
    output = message(path)
    assert f"{path}: line 1: must name the columns file,label[,split]" in output
    assert "comma, semicolon, tab or |" in output and "got ['name', 'value']" in output


def test_an_empty_split_is_an_error(tmp_path):
    path = tmp_path / "metadata.yaml"
    path.write_text("train: {samples: []}\n")
    assert "train: must have at least one image" in message(path)


def test_a_folder_of_nothing_that_is_known_is_reported(tmp_path):
    assert "must contain metadata.yaml, labels.csv or folders" in message(tmp_path)


# What people's folders look like


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
    found = message(table(tmp_path, [("a.png", "1", "train"), ("./a.png", "1", "test")], header))
    assert "line 3" in found and "line 2" in found and "one split, got train" in found
    found = message(table(tmp_path, [("a.png", "1", "train"), ("a.png", "2", "train")], header))
    assert "one label, got ១" in found


def test_a_file_that_is_listed_twice_stays_in_one_split_and_is_reported(tmp_path, caplog):
    for number in range(20):
        picture(tmp_path / f"{number}.png", value=number)
    path = table(tmp_path, [(f"{n % 20}.png", str(n % 10)) for n in range(60)])
    splits = load_splits(path, ["train", "val", "test"])
    levels = [set(split.images[:, 0, 0].tolist()) for split in splits.values()]
    assert sum(map(len, levels)) == 20 and sum(map(len, splits.values())) == 60
    assert "40 rows name a file that an earlier row names" in caplog.text


def test_what_is_used_and_what_is_passed_over_is_reported(tmp_path, caplog):
    for split in ("train", "val"):
        picture(tmp_path / split / "3" / "deep" / "a.jfif.png", value=7)
        picture(tmp_path / split / "loose.png")
    picture(tmp_path / "old" / "b.png")
    (tmp_path / "train" / "3" / "c.heic").touch()
    with caplog.at_level(logging.INFO):
        load_splits(tmp_path)
    assert "images: train 1 (៣ 1), val 1 (៣ 1)" in caplog.text
    assert "2 not used, because they are in no class folder" in caplog.text
    assert "old is no split" in caplog.text and "c.heic" in caplog.text
    assert "1 of 1 images are blank" in caplog.text


def test_a_table_in_a_folder_tells_which_images_it_does_not_name(tmp_path, caplog):
    for name in ("a", "b", "c"):
        picture(tmp_path / f"{name}.png")
    table(tmp_path, [("a.png", "1", "train"), ("b.png", "2", "val")], ("file", "label", "split"))
    load_splits(tmp_path)
    assert "because labels.csv does not list them" in caplog.text and "c.png" in caplog.text
    assert "train has no examples of the digits ២" in caplog.text
