import logging

import numpy as np

from raytune_ocr.data import load_split
from raytune_ocr.data.decoding import decode_all, warn_of_blanks
from tests.fixtures.labelled import message, picture, table


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
    output = message(with_bad_images(tmp_path, good=98, bad=2))
    assert "at most 1 %" in output and "got 2 of 100" in output
    assert "bad0.png" in output and "bad1.png" in output


def test_fewer_bad_images_are_skipped_named_and_counted(tmp_path, caplog):
    path = with_bad_images(tmp_path, good=100, bad=1)
    with caplog.at_level(logging.WARNING):
        assert len(load_split(path, "train")) == 100
    assert "bad0.png" in caplog.text and "skipped 1 of 101" in caplog.text


def test_a_missing_image_is_named(tmp_path):
    path = table(tmp_path, [("gone.png", "1", "train")], ("file", "label", "split"))
    output = message(path)
    assert "gone.png: no such image" in output and "line 2" in output


def test_images_stay_in_order_however_many_threads_decode():
    images, good = decode_all(range(50), lambda at: np.full(3, at, np.uint8), "train", 4)
    assert good == list(range(50))
    assert images[:, 0].tolist() == list(range(50))


def test_blank_images_are_counted_and_the_first_of_them_named(caplog):
    images = np.zeros((5, 2, 2), np.uint8)
    images[0, 0, 0] = 1
    warn_of_blanks(images, list("abcde"), "val")
    assert caplog.messages == ["val: 4 of 5 images are blank: b, c, d, ..."]
    caplog.clear()
    warn_of_blanks(images[:1], ["a"], "val")
    assert not caplog.messages
