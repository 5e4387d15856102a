import hashlib

import numpy as np
import pytest
import yaml

from raytune_ocr.data import GlyphSheet, SyntheticComposer, generate_dataset, load_splits
from raytune_ocr.generate import main
from raytune_ocr.vocabulary import DIGITS


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    content = b"".join(path.name.encode() + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()


def test_the_same_seed_gives_the_same_images_and_another_seed_others():
    first, second, other = (SyntheticComposer(seed=seed).batch(70) for seed in (4, 4, 5))
    assert np.array_equal(first[0], second[0]) and first[1] == second[1]
    assert not np.array_equal(first[0], other[0])


def test_lengths_and_digits_are_those_asked_for_and_all_occur():
    _, texts = SyntheticComposer(seed=1, lengths=(2, 4)).batch(300)
    assert {len(text) for text in texts} == {2, 3, 4}
    assert set("".join(texts)) == set(DIGITS)


@pytest.mark.parametrize("lengths", [(0, 3), (4, 2), (1, 9)])
def test_lengths_out_of_range_are_refused(lengths):
    with pytest.raises(ValueError, match="within 1-8"):
        SyntheticComposer(lengths=lengths)


def test_every_image_has_contrast_between_ink_and_paper():
    images, _ = SyntheticComposer(seed=2).batch(300)
    spread = np.percentile(images, 99.9, axis=(1, 2)) - np.percentile(images, 0.1, axis=(1, 2))
    assert spread.min() > 30


def test_clean_print_has_no_noise():
    images, _ = SyntheticComposer(seed=2, degrade=0).batch(50)
    corners = images[:, :2, :2].reshape(50, -1)
    assert (corners.max(axis=1) == corners.min(axis=1)).mean() > 0.9


def test_a_string_stays_inside_the_image():
    """Ink never touches the left and right border of clean print."""
    images, _ = SyntheticComposer(seed=6, lengths=(8, 8), degrade=0).batch(200)
    for side in (images[:, :, 0], images[:, :, -1]):
        assert (side.max(axis=1) == side.min(axis=1)).all()


def test_variety_brings_smaller_glyphs_and_is_deterministic():
    first, second = (SyntheticComposer(seed=4, variety=0.6).batch(200) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and first[1] == second[1]
    assert SyntheticComposer(seed=4, variety=0.6)._heights.min() < 13
    assert SyntheticComposer(seed=4)._heights.min() >= 13


def test_a_restarted_composer_makes_what_a_new_epoch_of_another_one_makes():
    one, other = SyntheticComposer(seed=1, variety=0.5), SyntheticComposer(seed=1, variety=0.5)
    one.batch(100)
    for composer in (one, other):
        composer.restart((1, 7))
    assert np.array_equal(one.batch(70)[0], other.batch(70)[0])


def test_variety_out_of_range_is_refused():
    with pytest.raises(ValueError, match="within 0-1"):
        SyntheticComposer(variety=2)


def test_few_faces_are_enough():
    images, texts = SyntheticComposer(GlyphSheet.load_bundled().select([0]), seed=1).batch(5)
    assert images.shape == (5, 64, 128) and len(texts) == 5


def test_a_generated_set_is_the_same_bytes_for_the_same_seed(tmp_path):
    for name in ("a", "b"):
        generate_dataset(tmp_path / name, 40, seed=8)
    generate_dataset(tmp_path / "c", 40, seed=9)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def test_a_generated_set_loads_as_it_was_written(tmp_path):
    path = generate_dataset(tmp_path, 100, seed=8, lengths=(3, 5))
    info = yaml.safe_load(path.read_text())["dataset_info"]
    assert (info["total_samples"], info["seed"], info["lengths"]) == (100, 8, [3, 5])
    splits = load_splits(path, ["train", "val", "test"])
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 80,
        "val": 10,
        "test": 10,
    }
    assert {len(text) for text in splits["train"].texts} == {3, 4, 5}


def test_images_are_in_colour(tmp_path):
    from PIL import Image

    generate_dataset(tmp_path, 10, seed=8)
    colours = [
        np.ptp(np.asarray(Image.open(file).convert("RGB")).astype(int), axis=2).max()
        for file in (tmp_path / "train").iterdir()
    ]
    assert max(colours) > 10


def test_the_command_line_writes_a_set_and_says_where(tmp_path, capsys):
    arguments = ["--output-dir", str(tmp_path), "--num-samples", "20", "--lengths", "2"]
    assert main([*arguments, "--no-system-fonts"]) == 0
    assert str(tmp_path / "metadata.yaml") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-samples", "2"], "integer >= 3"),
        (["--lengths", "0-4"], "within 1-8"),
        (["--seed", "x"], "integer >= 0"),
    ],
)
def test_a_wrong_command_line_tells_the_rule(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(["--output-dir", str(tmp_path), *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_folder_of_fonts_is_an_error(tmp_path, capsys):
    arguments = ["--output-dir", str(tmp_path), "--num-samples", "5", "--no-system-fonts"]
    assert main([*arguments, "--fonts-dir", str(tmp_path / "absent")]) == 2
    assert "no such folder of fonts" in capsys.readouterr().err


def test_a_folder_without_a_font_that_may_be_rendered_is_an_error(tmp_path, capsys):
    empty, out = tmp_path / "fonts", tmp_path / "digits"
    empty.mkdir()
    arguments = ["--output-dir", str(out), "--num-samples", "5", "--no-system-fonts"]
    for reserved in (False, True):
        if reserved:
            (empty / "Hanuman-Regular.ttf").write_bytes(b"never read")
        assert main([*arguments, "--fonts-dir", str(empty)]) == 2
        assert f"{empty}: must contain a font (.ttf, .otf, .ttc)" in capsys.readouterr().err
    assert not out.exists()


def test_a_set_that_is_not_finished_is_not_there(tmp_path):
    generate_dataset(tmp_path, 20, seed=1)

    def give_up(images, total):
        yield next(iter(images))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_dataset(tmp_path, 20, seed=2, progress=give_up)
    assert not (tmp_path / "metadata.yaml").exists()
