import pytest

from raytune_ocr.data import load_splits
from raytune_ocr.generate import build_parser, main


def test_a_set_is_written_with_the_lengths_that_were_asked_for(tmp_path, capsys):
    words = ["--output-dir", str(tmp_path), "--num-samples", "12", "--lengths", "2"]
    assert main([*words, "--no-system-fonts"]) == 0
    assert "12 images in" in capsys.readouterr().out
    splits = load_splits(tmp_path, ("train", "val", "test"))
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 10,
        "val": 1,
        "test": 1,
    }
    assert {len(text) for split in splits.values() for text in split.texts} == {2}


@pytest.mark.parametrize(("text", "lengths"), [("1-8", (1, 8)), ("4", (4, 4)), ("3-3", (3, 3))])
def test_lengths_are_one_number_or_two(text, lengths):
    words = ["--output-dir", "out", "--lengths", text]
    assert build_parser().parse_args(words).lengths == lengths


@pytest.mark.parametrize("text", ["0-3", "5-2", "1-9", "few", "-", ""])
def test_other_lengths_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args(["--output-dir", "out", f"--lengths={text}"])
    assert "--lengths: must be" in capsys.readouterr().err


def test_a_folder_without_fonts_is_reported_before_anything_is_written(tmp_path, capsys):
    (tmp_path / "fonts").mkdir()
    words = ["--output-dir", str(tmp_path / "out"), "--fonts-dir", str(tmp_path / "fonts")]
    assert main([*words, "--no-system-fonts"]) == 2
    assert "must contain a font" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
